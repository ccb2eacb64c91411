"""The model card: one Markdown page that says what a model is, what it was made of and what it is not for.

After Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.contracts import Evaluated
from pipelines.figures import look
from serving.doors import Doors

Metrics = Mapping[str, Mapping[str, Any]]  # model -> {"metrics", "slices", "intervals"}, as in metrics.json


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; fractions get four digits, all columns but the first are right-aligned."""
    def cell(value: object) -> str:
        return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)

    lines = [list(header), ["---", *["---:"] * (len(header) - 1)], *[[cell(v) for v in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def comparison(metrics: Metrics) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of the comparison: one row a model, recall first, last the gain in recall@10 over it."""
    names = sorted(metrics["two_tower"]["metrics"], key=lambda name: (not name.startswith("recall"), name))
    own = metrics["two_tower"]["metrics"]["recall@10"]
    rows = []
    for model, found in metrics.items():
        theirs = found["metrics"]["recall@10"]
        gain = "" if model == "two_tower" or not theirs else f"{100 * (own / theirs - 1):+.1f} %"
        rows.append([look(model)[0], *[found["metrics"].get(name, "") for name in names], gain])
    return ["model", *names, "gain of two-tower"], rows


def slice_table(metrics: Metrics) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of recall@10 by slice: one row a slice, one column a model."""
    own = metrics["two_tower"]["slices"]
    rows = [
        [name, int(found["events"]), *[m["slices"].get(name, {}).get("recall@10", "") for m in metrics.values()]]
        for name, found in own.items()
    ]
    return ["slice", "events", *[look(model)[0] for model in metrics]], rows


def door_table(doors: Doors) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of what else is answered: one row a figure, or why not."""
    rows: list[list[Any]] = []
    for name, door in (("words", doors.search), ("a picture", doors.pictures)):
        if door.closed is not None:
            rows.append([f"by {name}", f"not possible: {door.closed}", ""])
        else:
            rows += [[f"by {name}", figure, value] for figure, value in door.figures.items()] or [
                [f"by {name}", "not measured: nothing could be held out", ""]]
    return ["search", "on what was held out of training", ""], rows


def model_card(
    evaluated: Evaluated, train: Mapping[str, Any], metrics: Metrics, doors: Doors, intended_use: str
) -> str:
    """The card as Markdown.

    Args:
        evaluated: the model's provenance.
        train: the training's settings, by name.
        metrics: content of the evaluation's metrics.json.
        doors: what the training learned to answer beside recommendations.
        intended_use: the shop's own words on what the model is for.
    """
    trained = evaluated.trained
    snapshot = trained.snapshot
    source = snapshot.ingested.source if snapshot.ingested else snapshot.path
    start = f"{snapshot.window.start:%Y-%m-%d %H:%M}" if snapshot.window.start else "the log's beginning"
    intervals = [f"{name} {low:.4f} to {high:.4f}" for name, (low, high) in metrics["two_tower"]["intervals"].items()]
    by_slice = slice_table(metrics)
    weak = [
        f"{row[0]} ({row[1]:,} events)" for row in by_slice[1]
        if any(isinstance(value, float) and value > row[2] for value in row[3:])
    ]
    limits = [
        "Measured offline on what shoppers chose while another system, or none, recommended to them: it says how "
        "well the next events are foreseen, not how much a recommendation changes them.",
        f"It knows events before {snapshot.window.as_of:%Y-%m-%d %H:%M} UTC only; season and range move on.",
        "Products without any event live on their features alone, shoppers without history on theirs.",
        f"Behind another model in recall@10 in: {', '.join(weak)}." if weak
        else "Behind no other model in recall@10 in any slice measured.",
    ]
    if snapshot.users:
        limits.append(f"{snapshot.train_events / snapshot.users:.1f} training events a user on average.")
    return "\n".join([
        "# Two-tower recommender", "",
        "A user tower over the recent visits and the pooled whole history of a shopper, an item tower over identity "
        "and features; the score is the inner product of their vectors.", "",
        "## Intended use", "", intended_use, "",
        "## Data", "",
        table(["", ""], [
            ["source", f"`{source}`"], ["events", f"{start} to {snapshot.window.as_of:%Y-%m-%d %H:%M} UTC"],
            ["users, items, events", f"{snapshot.users:,}, {snapshot.items:,}, {snapshot.events:,}"],
            ["training events", snapshot.train_events], ["validation targets", snapshot.valid_targets],
            ["test targets", snapshot.test_targets], ["data digest", f"`{snapshot.digest}`"],
        ]), "",
        "## Training", "",
        f"{trained.epochs} epochs, epoch {trained.best_epoch} kept (recall@10 {trained.valid_recall_at_10:.4f} on the "
        f"validation window); vectors of {trained.dimension} numbers. Training digest `{trained.digest}`.", "",
        table(["setting", "value"], [[f"`{name}`", f"`{value}`"] for name, value in sorted(train.items())]), "",
        "## Results on the test events", "",
        table(*comparison(metrics)), "",
        *([f"95 % bootstrap intervals of the two-tower: {'; '.join(intervals)}.", ""] if intervals else []),
        "Recall@10 by slice:", "",
        table(*by_slice), "",
        "## Search", "",
        table(*door_table(doors)), "",
        "## Limits", "",
        *[f"- {limit}" for limit in limits], "",
    ])
