"""The command `ablate`. What it needs is imported when it runs: `vitrine --help` is to answer at once."""

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer()
console = Console()


@app.command()
def ablate(
    data: Annotated[str, typer.Option(help="Folder or Ibis URL with events, items and users.")],
    variant: Annotated[list[str] | None, typer.Option(
        metavar="FIELD=VALUE[,FIELD=VALUE]", help="A variant of your own, instead of the built-in ones; repeatable.",
    )] = None,
    as_of: Annotated[datetime | None, typer.Option(
        help="Events before this UTC moment count. Default: just after the last event.",
        formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])] = None,
    window_days: Annotated[int | None, typer.Option(
        min=1, help="Only so many days before as_of. Default: the whole log.")] = None,
    spec: Annotated[Path | None, typer.Option(help="TOML file that overrides names, kinds and weights.")] = None,
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="STAGE.FIELD=VALUE", help="Change a setting of the default and all variants; repeatable.",
    )] = None,
) -> None:
    """Leave out or change each choice of the training by itself, and show what it is worth on validation.

    Eleven trainings, each as long as a retrain's; `--set train.members=1` takes a quarter of that. The same command
    again goes on after a kill, and trains nothing twice. The table lies in MLflow, with a nested run a variant.

    Example: `vitrine ablate --data ../shop`

    Example: `vitrine ablate --data ../shop --set train.members=1 --variant blocks=1 --variant dropout=0.3,blocks=3`
    """
    from pipelines.ablate import ablate as run
    from pipelines.ablate_page import HEADER, row_texts
    from pipelines.cli import SEARCHED
    from pipelines.contracts import Origin
    from pipelines.given_settings import parse_settings
    from pipelines.retrain import RetrainParams, default_as_of, resolved
    from pipelines.revision import git_revision
    from pipelines.settings import load_settings

    source, path = resolved(data), str(spec.resolve()) if spec else None
    moment = default_as_of(source, path) if as_of is None else as_of.replace(tzinfo=UTC)
    params = RetrainParams(source=source, as_of=moment, spec=path, window_days=window_days, reason="ablate",
                           settings=parse_settings(settings, SEARCHED))
    origin = Origin(actor=getpass.getuser(), reason=params.reason, git_revision=git_revision())
    found = run(params, origin, load_settings().of_shop(params.shop), variant or ())
    table = Table(*HEADER, title=f"Events before {moment:%Y-%m-%d %H:%M:%S} UTC")
    for line in found.lines:
        table.add_row(*row_texts(line), style=None if line.difference else "bold")
    console.print(table)
    console.print(f"ablation {found.name}, MLflow run {found.run_id}", highlight=False, soft_wrap=True)
