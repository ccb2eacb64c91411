"""`vitrine rules`: what merchandising rules cost. What it needs is imported when it runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipelines.errors import SettingsError

if TYPE_CHECKING:
    from pipelines.contracts import Sealed
    from pipelines.rule_costs import Costs

app = typer.Typer(no_args_is_help=True, help="Merchandising rules: pins, boosts, caps, price band, diversity.")


@app.command()
def evaluate(
    rules: Annotated[Path, typer.Argument(help="JSON file of rules, see docs/rules.md.", dir_okay=False)],
    bundle: Annotated[Path | None, typer.Option(
        help="Folder that `vitrine index` printed. Default: that of the live release.", exists=True, file_okay=False,
    )] = None,
    targets: Annotated[int, typer.Option(min=1, help="Test events, at most.")] = 2_000,
    samples: Annotated[int, typer.Option(min=20, help="Resamplings of users behind each interval.")] = 500,
    shop: Annotated[str | None, typer.Option(help="Whose live release. Default: the only shop of the store.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Measure what each rule costs on the evaluation's test events: recall, ndcg, coverage, novelty, changed slates.

    Each rule is measured alone, then all together, as differences from no rules at all with 95 % intervals by users.

    Example: `vitrine rules evaluate rules.json`

    Example: `vitrine rules evaluate rules.json --bundle .vitrine/artifacts/index/KEY --json`
    """
    from pipelines.artifacts import load_contract
    from pipelines.contracts import Sealed
    from pipelines.rule_costs import CostSettings, rule_costs
    from pipelines.snapshot import SnapshotData
    from serving.bundle import Bundle
    from serving.rules import load_rules

    wanted = load_rules(rules)
    sealed = load_contract(Sealed, bundle) if bundle is not None else _live(shop)
    data = SnapshotData.load(sealed.registered.evaluated.trained.snapshot.path)
    costs = rule_costs(Bundle.load(sealed.path, sealed.digest), data, wanted,
                       CostSettings(max_targets=targets, samples=samples))
    if as_json:
        print(json.dumps(costs.model_dump(mode="json"), indent=1))
        return
    Console(highlight=False).print(_table(costs))


def _live(shop: str | None) -> "Sealed":
    """The sealed stage that the live release's bundle is a copy of: it knows the snapshot with the test events."""
    from pipelines.artifacts import load_contract
    from pipelines.contracts import Sealed
    from pipelines.releases.opening import of_one_shop, open_store
    from pipelines.settings import load_settings

    places = of_one_shop(load_settings(), shop)
    live = open_store(places).live()
    if live is None:
        raise SettingsError(f"no release is live in {places.store}: release one by `vitrine retrain --data FOLDER`")
    for folder in sorted((places.artifacts / "index").glob("*/contract.json")):
        sealed = load_contract(Sealed, folder.parent)
        if sealed.digest == live.bundle:
            return sealed
    raise SettingsError(f"{places.artifacts}/index does not hold bundle {live.bundle[:12]} of release {live.number} "
                        "any more, nor with it its test events: give another one by --bundle")


def _table(costs: "Costs") -> Table:
    from pipelines.rule_costs import CHANGED, COVERAGE, MOVED, NDCG, NONE, NOVELTY, RECALL

    table = Table(title=f"{costs.targets:,} test events of {costs.users:,} users, bundle {costs.bundle[:12]}; "
                        "differences with their 95 % interval", title_justify="left")
    table.add_column("rule")
    shown = (RECALL, NDCG, COVERAGE, NOVELTY)
    for name in (*shown, "changed slates", MOVED):
        table.add_column(name, justify="right")
    table.add_row(NONE, *(f"{costs.without[name]:.4f}" for name in shown), "", "")
    for cost in costs.rules:
        figures = [cost.figures[name] for name in shown]
        table.add_row(cost.rule, *(f"{one.value:.4f}\n{one.difference:+.4f}\n{one.low:+.4f} .. {one.high:+.4f}"
                                   for one in figures),
                      f"{cost.figures[CHANGED].value:.1%}", f"{cost.figures[MOVED].value:.2f}")
    return table
