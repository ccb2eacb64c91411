"""`vitrine experiment`: start, stop and report. What they need is imported when they run."""

import getpass
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipelines.errors import SettingsError

if TYPE_CHECKING:
    from pipelines.experiment_report import Outcome, Report
    from serving.store import ReleaseStore

app = typer.Typer(no_args_is_help=True, help="Two releases or two sets of rules side by side.")

Shop = Annotated[str | None, typer.Option(help="Which shop. Default: the only shop of the store.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command()
def start(
    spec: Annotated[Path, typer.Argument(help="JSON file, see docs/experiments.md.", dir_okay=False)],
    reason: Annotated[str, typer.Option(help="Why; stands in the record.")], shop: Shop = None,
) -> None:
    """Start an experiment; serving processes follow within seconds. One runs at a time.

    Example: `vitrine experiment start spec.json --reason "is the new release liked?"`
    """
    from pipelines.experiment_start import start as begin
    from pipelines.validation import load_file
    from serving.experiments.spec import Spec

    asked = load_file(Spec, spec, "experiment", "docs/experiments.md")
    record = begin(_store(shop), asked, getpass.getuser(), reason)
    shares = ", ".join(f"{name} {share:.1%}" for name, share in record.spec.shares.items())
    print(f"experiment {record.version}, {record.spec.name}: {shares}; salt {record.spec.salt}")


@app.command()
def stop(reason: Annotated[str, typer.Option(help="Why; stands in the record.")], shop: Shop = None) -> None:
    """End what runs: everybody gets the live release and the shop's rules again.

    Example: `vitrine experiment stop --reason "b is better"`
    """
    record = _store(shop).experiments.stop(getpass.getuser(), reason)
    print(f"experiment {record.version}, {record.spec.name}: ended {record.ended_at}, begun {record.started_at}")


@app.command()
def report(
    version: Annotated[int | None, typer.Argument(min=1, help="Number that start printed. Default: the last.")] = None,
    shop: Shop = None, as_json: Json = False,
) -> None:
    """Tell click and purchase rates by variant, with intervals that hold however often one looks.

    Example: `vitrine experiment report`
    """
    from pipelines.experiment_report import report as judge
    from pipelines.releases.opening import one_shop, open_store
    from pipelines.settings import load_settings

    places = load_settings()
    name = one_shop(places, shop)
    experiments = open_store(places.of_shop(name)).experiments
    newest = experiments.newest()
    if newest is None:
        raise SettingsError(f"{name} has had no experiment: start one with `vitrine experiment start`")
    found = judge(places.landing_of(name), experiments.of(version or newest.version), datetime.now(UTC))
    if as_json:
        print(json.dumps(found.model_dump(mode="json"), indent=1))
        return
    console = Console(highlight=False)
    console.print(_table(found))
    left_out = [f"{found.mixed:,} users saw several variants and are left out"] if found.mixed else []
    for line in (*found.warnings, *left_out):
        console.print(line, soft_wrap=True)


def _store(shop: str | None) -> "ReleaseStore":
    from pipelines.releases.opening import of_one_shop, open_store
    from pipelines.settings import load_settings

    return open_store(of_one_shop(load_settings(), shop))


def _table(found: "Report") -> Table:
    from pipelines.experiment_report import CLICK, PURCHASE

    record = found.record
    state = f"ended {record.ended_at:%Y-%m-%d %H:%M}" if record.ended_at is not None else "running"
    table = Table(title=f"{record.spec.name} (experiment {record.version}, {state}); users count "
                        f"{record.spec.horizon_hours:g} hours after their first exposure", title_justify="left")
    for name in ("variant", "users", "counted", "click rate", "times the control's", "purchase rate",
                 "times the control's"):
        table.add_column(name, justify="left" if name == "variant" else "right")
    for arm in found.arms:
        cells = [cell for kind in (CLICK, PURCHASE) for cell in _cells(arm.outcomes[kind])]
        table.add_row(arm.name, f"{arm.exposed:,}", f"{arm.counted:,}", *cells)
    return table


def _cells(outcome: "Outcome") -> tuple[str, str]:
    rate = "" if outcome.rate is None else f"{outcome.rate:.2%}\n[{outcome.low:.2%}, {outcome.high:.2%}]"
    if outcome.p_value is None:
        return rate, ""
    ratio = "?" if outcome.ratio is None else f"{outcome.ratio:.3f}"
    high = "" if outcome.ratio_high is None else f"{outcome.ratio_high:.3f}"
    verdict = "different" if outcome.is_different else "not told apart"
    return rate, f"{ratio} [{outcome.ratio_low:.3f}, {high}]\np {outcome.p_value:.2g}, {verdict}"
