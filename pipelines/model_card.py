"""The model card: one Markdown page that says what a model is, what it was made of and what it is not for.

After Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.contracts import Evaluated, Snapshot
from pipelines.figures import look
from pipelines.reproduce import retrain_command
from serving.doors import Doors

Metrics = Mapping[str, Mapping[str, Any]]  # model -> {"metrics", "slices", "intervals", "exposure"}: metrics.json
FEW = 100  # events: of a recall of .1 the 95 % interval is then .06 to .17 (Wilson)
_TIME = "%Y-%m-%d %H:%M"
SLICES = {
    "new_user": "shoppers without an earlier event", "short_history_1_to_4": "shoppers with 1 to 4 earlier events",
    "long_history_20_up": "shoppers with 20 earlier events or more",
    "new_item": "products without a training event",
    "tail_item": "products behind those that make up 80 % of the training events",
}


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


def data_table(snapshot: Snapshot, spec: Mapping[str, Any]) -> str:
    """What the model was made of: window, counts, columns and digests."""
    ingested, window = snapshot.ingested, snapshot.window
    start = f"{window.start:{_TIME}}" if window.start else "the log's beginning"
    rows = [
        ["source", f"`{ingested.source if ingested else snapshot.path}`"],
        ["window", f"{start} to {window.as_of:{_TIME}} UTC"],
    ]
    if ingested:
        rows.append(["first and last event", f"{ingested.first_event:{_TIME}} and {ingested.last_event:{_TIME}} UTC, "
                                             f"on {ingested.days:,} days"])
    if snapshot.valid_from and snapshot.test_from:
        rows.append(["validation, test from", f"{snapshot.valid_from:{_TIME}}, {snapshot.test_from:{_TIME}} UTC"])
    weights = spec["event_weights"]
    rows += [
        ["users, items, events", f"{snapshot.users:,}, {snapshot.items:,}, {snapshot.events:,}"],
        ["training events", f"{snapshot.train_events:,}"],
        ["validation, test answers", f"{snapshot.valid_targets:,}, {snapshot.test_targets:,}"],
        ["event types and weights", ", ".join(f"{name} {weights[name]:g}" for name in spec["event_types"])],
        ["columns of the items", _columns(spec["item_fields"])],
        ["columns of the users", _columns(spec["user_fields"])],
    ]
    if ingested:
        rows.append(["digest of the checked copy", f"`{ingested.digest}`"])
    rows.append(["digest of the encoded data", f"`{snapshot.digest}`"])
    return table(["", ""], rows)


def _columns(fields: Sequence[Mapping[str, str]]) -> str:
    return ", ".join(f"{field['name']} ({field['kind']})" for field in fields) or "none"


def limits(evaluated: Evaluated, spec: Mapping[str, Any], metrics: Metrics) -> list[str]:
    """Where and for what the model should not be relied on, as sentences."""
    snapshot = evaluated.trained.snapshot
    by_slice = slice_table(metrics)[1]
    weak = [
        f"{row[0]} ({row[1]:,} events)" for row in by_slice
        if any(isinstance(value, float) and value > row[2] for value in row[3:])
    ]
    small = [f"{row[0]} ({row[1]:,})" for row in by_slice if row[1] < FEW]
    shown = metrics["two_tower"]["exposure"]
    known = ", ".join(field["name"] for field in spec["user_fields"])
    found = [
        "Measured offline on what shoppers chose while another system, or none, recommended to them: it says how "
        "well the next events are foreseen, not how much a recommendation changes them.",
        f"It knows events before {snapshot.window.as_of:{_TIME}} UTC only; season and range move on.",
        "Products without any event live on their features alone, shoppers without history on theirs.",
        f"Of shoppers it takes the history{f' and {known}' if known else ''}; none has a vector of their own in it. "
        "What was chosen by few is learned badly, and a bias of the log is one of the model.",
        f"Behind another model in recall@10 in: {', '.join(weak)}." if weak
        else "Behind no other model in recall@10 in any slice measured.",
        f"Of the places in its lists {100 * shown['popular_share']:.1f} % go to the most popular tenth of the range, "
        f"{100 * shown['never_bought_share']:.1f} % to products without a training event.",
    ]
    if small:
        found.append(f"Slices of fewer than {FEW} events say little, those of none nothing: {', '.join(small)}.")
    if snapshot.users:
        found.append(f"{snapshot.train_events / snapshot.users:.1f} training events a user on average.")
    return found


def model_card(
    evaluated: Evaluated, features: Mapping[str, Any], train: Mapping[str, Any], spec: Mapping[str, Any],
    metrics: Metrics, doors: Doors, *, intended_use: str, revision: str | None,
) -> str:
    """The card as Markdown.

    Args:
        evaluated: the model's provenance.
        features, train: settings of the two stages, by name.
        spec: the snapshot's spec.json.
        metrics: content of the evaluation's metrics.json.
        doors: what the training learned to answer beside recommendations.
        intended_use: the shop's own words on what the model is for.
        revision: git commit of the code; None where it did not come from a checkout.
    """
    trained = evaluated.trained
    snapshot = trained.snapshot
    intervals = [f"{name} {low:.4f} to {high:.4f}" for name, (low, high) in metrics["two_tower"]["intervals"].items()]
    refit = "; then trained anew on train and valid, for as many epochs" if trained.is_refit else ""
    meant = [f"- {name}: {SLICES[name]}" for name in metrics["two_tower"]["slices"] if name in SLICES]
    return "\n".join([
        "# Two-tower recommender", "",
        "A user tower over the recent visits and the pooled whole history of a shopper, an item tower over identity "
        "and features; the score is the inner product of their vectors.", "",
        "## Intended use", "", intended_use, "",
        "## Data", "",
        data_table(snapshot, spec), "",
        "## Training", "",
        f"{trained.epochs} epochs, epoch {trained.best_epoch} kept (recall@10 {trained.valid_recall_at_10:.4f} on the "
        f"validation window){refit}; vectors of {trained.dimension} numbers. Training digest `{trained.digest}`.", "",
        table(["setting", "value"], [[f"`{name}`", f"`{value}`"] for name, value in sorted(train.items())]), "",
        "## Results on the test events", "",
        table(*comparison(metrics)), "",
        *([f"95 % bootstrap intervals of the two-tower: {'; '.join(intervals)}.", ""] if intervals else []),
        "Recall@10 by slice:", "",
        table(*slice_table(metrics)), "",
        *([*meant, ""] if meant else []),
        "## Search", "",
        table(*door_table(doors)), "",
        "## Limits", "",
        *[f"- {limit}" for limit in limits(evaluated, spec, metrics)], "",
        "## How to make it again", "",
        *_again(snapshot, features, train, revision),
    ])


def _again(
    snapshot: Snapshot, features: Mapping[str, Any], train: Mapping[str, Any], revision: str | None
) -> list[str]:
    """Lines of the last section: commands, and what then has to be the same."""
    digests = f"the encoded data `{snapshot.digest[:12]}`"
    if snapshot.ingested:
        digests = f"the checked copy has the digest `{snapshot.ingested.digest[:12]}` and {digests}"
    return [
        "```sh", *([f"git checkout {revision} && make env"] if revision else []),
        retrain_command(snapshot, features, train), "```", "",
        *([] if revision else ["The code did not come from a checkout, so that its revision is not known.", ""]),
        "With a specification file (`--spec`), give it again. With the same events in the source, "
        f"{digests}. Weights differ in their last digits from machine to machine, and the figures with them, at most "
        "as much as with another seed.", "",
    ]
