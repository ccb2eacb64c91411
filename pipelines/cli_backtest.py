"""The command `vitrine backtest`."""

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from pipelines.contracts import Origin
from pipelines.errors import SettingsError
from pipelines.retrain import resolved, shop_of
from pipelines.revision import git_revision
from pipelines.settings import load_settings
from pipelines.validation import faults_of

app = typer.Typer()
console = Console()


@app.command()
def backtest(
    data: Annotated[str, typer.Option("--data", help="Folder, lake or Ibis URL with events, items and users.")],
    first: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First day to retrain as of, UTC.")],
    last: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Last day to retrain as of.")],
    every_days: Annotated[int, typer.Option(min=1, help="From one to the next.")] = 7,
    window_days: Annotated[int | None, typer.Option(min=1, help="Only so many days before each. Default: all.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most so many epochs.")] = None,
    spec: Annotated[Path | None, typer.Option(help="TOML file that overrides names, kinds and weights.")] = None,
    reason: Annotated[str, typer.Option(help="Why; goes into the record.")] = "backtest",
) -> None:
    """Retrain as of many past days, and show recall over time beside the baselines; nothing is released.

    One MLflow run with a chart and a nested run a day. What was done before is found, so the same command goes on.

    Example: `vitrine backtest --data ../shop --first 2026-05-03 --last 2026-06-28`
    """
    from pipelines.backtest import OWN, SHOWN, BacktestParams, measure, report

    source = resolved(data)
    try:
        params = BacktestParams(
            source=source, first=first.replace(tzinfo=UTC), last=last.replace(tzinfo=UTC), every_days=every_days,
            window_days=window_days, epochs=epochs, spec=str(spec.resolve()) if spec else None, reason=reason)
    except ValidationError as error:
        raise SettingsError(faults_of(error, "--")) from error
    places = load_settings().of_shop(shop_of(source))
    origin = Origin(actor=getpass.getuser(), reason=reason, git_revision=git_revision())
    found = report(params, [measure(one, origin, places) for one in params.retrains()], origin, places)
    models = list(dict.fromkeys(model for one in found.cutoffs for model in one.metrics))
    table = Table("as of", *(("two-tower" if model == OWN else model) for model in models), title="Recall@10")
    for one in found.cutoffs:
        figures = [one.metrics.get(model, {}).get(SHOWN) for model in models]
        table.add_row(f"{one.as_of:%Y-%m-%d}", *("" if value is None else f"{value:.4f}" for value in figures))
    console.print(table)
    console.print(f"MLflow run {found.run_id}", highlight=False)
