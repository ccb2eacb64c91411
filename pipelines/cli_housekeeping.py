"""The command `vitrine housekeeping`. What it needs is imported when it runs."""

import getpass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipelines.contracts import Origin
from pipelines.housekeeping.bounds import Bounds
from pipelines.revision import git_revision
from pipelines.settings import load_settings

_DEFAULT = Bounds()


def housekeeping(
    keep_bundles: Annotated[int, typer.Option(min=0, help="Bundles and models to keep besides the live one."
                                              )] = _DEFAULT.keep_bundles,
    grace_hours: Annotated[float, typer.Option(min=0, help="No bundle younger goes, or in use so lately."
                                               )] = _DEFAULT.grace_hours,
    attempt_hours: Annotated[float, typer.Option(min=0.1, help="Attempts of stages that wrote nothing for so long."
                                                 )] = _DEFAULT.attempt_hours,
    checkpoint_days: Annotated[float, typer.Option(min=0.1, help="Checkpoints that nobody came back for."
                                                   )] = _DEFAULT.checkpoint_days,
    refresh_days: Annotated[float, typer.Option(min=0.1, help="Working folders of refreshed catalogues."
                                                )] = _DEFAULT.refresh_days,
    run_hours: Annotated[float, typer.Option(min=0.1, help="MLflow runs that say for so long that they are running."
                                             )] = _DEFAULT.run_hours,
    log_days: Annotated[float, typer.Option(min=0.1, help="Task logs of Airflow.")] = _DEFAULT.log_days,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without this it is only said.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Tidy up: bundles, what killed stages left, stale MLflow runs, old logs; alias champion follows what is live.

    Without --yes it only says what would go.

    Example: `vitrine housekeeping`

    Example: `vitrine housekeeping --log-days 14 --yes`
    """
    from pipelines.housekeeping.run import HousekeepingParams, keep_house

    params = HousekeepingParams(
        keep_bundles=keep_bundles, grace_hours=grace_hours, attempt_hours=attempt_hours,
        checkpoint_days=checkpoint_days, refresh_days=refresh_days, run_hours=run_hours, log_days=log_days,
        dry_run=not yes)
    origin = Origin(actor=getpass.getuser(), reason=params.reason, git_revision=git_revision())
    done = keep_house(params, origin, load_settings())
    if as_json:
        print(done.model_dump_json(indent=1))
        return
    table = Table("what", "where", "older than its bound", "removed", "MB", "such as")
    for one in done.tidied:
        table.add_row(one.what, one.where, f"{one.found:,}", f"{one.removed:,}", f"{one.size / 1e6:,.1f}",
                      ", ".join(one.examples))
    console = Console()
    console.print(table)
    if done.is_dry_run:
        console.print("dry run; --yes does it", highlight=False)
