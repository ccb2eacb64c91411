"""The command `vitrine refresh-catalogue`. What it needs is imported when it runs."""

import getpass
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from pipelines.contracts import Origin
from pipelines.errors import SettingsError
from pipelines.retrain import resolved
from pipelines.revision import git_revision
from pipelines.settings import load_settings
from pipelines.validation import faults_of


def refresh_catalogue(
    data: Annotated[str, typer.Option("--data", help="Folder, lake or Ibis URL; its items are read.")],
    spec: Annotated[Path | None, typer.Option(help="TOML file that overrides names, kinds and weights.")] = None,
    max_changed: Annotated[float | None, typer.Option(
        min=0, max=1, help="Part of the items that may differ from what is live. Default: .2")] = None,
    max_churn: Annotated[float | None, typer.Option(
        min=0, max=1, help="Part of the panel's first ten that may. Default: .3")] = None,
    dry_run: Annotated[bool, typer.Option(help="Do everything but the release.")] = False,
    reason: Annotated[str, typer.Option(help="Why; goes into the release record.")] = "refresh",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Put the shop's present items under the live model: new and changed ones are embedded, nothing is trained.

    What changed is judged lightly, and released with the same model version. The same catalogue again changes nothing.
    Exit status 3 where the gate refused.

    Example: `vitrine refresh-catalogue --data ../shop`

    Example: `vitrine refresh-catalogue --data ../shop --max-changed 0.6 --reason "spring collection"`
    """
    from pipelines.refresh.run import RefreshParams
    from pipelines.refresh.run import refresh_catalogue as run

    bounds = {name: value for name, value in (("max_changed", max_changed), ("max_churn", max_churn))
              if value is not None}
    try:
        params = RefreshParams.model_validate({
            "source": resolved(data), "spec": str(spec.resolve()) if spec else None, "dry_run": dry_run,
            "reason": reason, **bounds})
    except ValidationError as error:
        raise SettingsError(faults_of(error, "--")) from error
    origin = Origin(actor=getpass.getuser(), reason=reason, git_revision=git_revision())
    done = run(params, origin, load_settings())
    if as_json:
        print(done.model_dump_json(indent=1))
        return
    typer.echo(f"{done.status}: release {done.release}, bundle {done.bundle[:12]}, {done.items:,} items, "
               f"+{done.added:,} -{done.removed:,}, {done.changed:,} with other features")
    typer.echo("  " + ", ".join(f"{step} {seconds:.1f} s" for step, seconds in done.seconds.items()))
