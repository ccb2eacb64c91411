"""How fast Vitrine trains, beside the usual ways of doing the same, in one run.

- tutorial: the training loop of the TFRS tutorial on the same pairs.
- tables: two tables of a million rows, sparse Adagrad beside dense Adam.
- padded: an epoch of the same layers, every history padded to the full window.

A position is one (question, item) pair that the loss is taken over: for Vitrine a target, which is a user's first
meeting with an item, asked from all that lies before it; for the tutorial one (user, item) example. Both are made of
the same events, and as many.

For memory and time by the size of the log see `benchmarks.training_scale`.
"""

import logging
import tempfile
from itertools import pairwise
from pathlib import Path
from time import process_time
from typing import Annotated

import typer

from benchmarks.side_by_side import Comparison, Side
from benchmarks.training_recall import to_recall as run_to_recall
from pipelines.artifacts import write_json
from pipelines.given_settings import parse_settings
from pipelines.snapshot import SnapshotData
from pipelines.train_settings import TrainSettings

COMPARISONS = ("tutorial", "tables", "padded")
_TIMED = {"members": 1, "refit": False, "valid_targets": 100}  # only training is timed


def own_training(data: SnapshotData, settings: TrainSettings, epochs: int = 1) -> Side:
    """Vitrine's training of a snapshot: the fastest of `epochs` whole epochs behind the first."""
    from models.stream import VisitLog
    from models.training import fit

    ends: list[float] = []
    fit(data, settings.model_copy(update={**_TIMED, "max_epochs": epochs + 1, "patience": epochs + 1}),
        watch=lambda _, __: ends.append(process_time()))
    seconds = min(after - before for before, after in pairwise(ends))
    positions = VisitLog.of(data, data.spec["visits"], settings.memory_mb).total("targets")
    softmax = "full" if data.num_items <= settings.full_softmax_below else "sampled"
    return Side(f"Vitrine, {softmax} softmax", positions, seconds,
                f"the fastest of {epochs} whole epochs, making the batches and {_TIMED['valid_targets']} validation "
                "questions included")


def compare(
    data: SnapshotData, chosen: set[str], settings: TrainSettings, steps: int, tutorial_batch: int, sequences: int
) -> list[Comparison]:
    """What is chosen of the comparisons on a data set; `sequences` are a batch of the padded training."""
    from benchmarks.training_padded import padded_training
    from benchmarks.training_tutorial import tutorial, tutorial_by_rows

    whole = settings.model_copy(update={"full_softmax_below": data.num_items})
    own, found = own_training(data, whole), []
    if "tutorial" in chosen:
        theirs = tutorial(data, steps, tutorial_batch)
        found.append(Comparison("Positions a second, over all items", own, theirs, target=70))
        sampled = own_training(data, settings.model_copy(update={"full_softmax_below": 0}))
        found.append(Comparison("Positions a second, over a sample of the items", sampled, theirs, target=70))
        found.append(Comparison("The tutorial's own two tables, rows instead of strings and no metrics in fit",
                                tutorial_by_rows(data), theirs, target=None))
    if "padded" in chosen:
        theirs = padded_training(data, whole, own.positions, sequences, steps)
        found.append(Comparison("Time of an epoch, over all items", own, theirs, target=5))
    return found


def main(
    data: Annotated[Path, typer.Option(help="Data set of the measuring protocol.", exists=True, file_okay=False)]
    = Path("../shared/datasets/amazon_beauty"),
    only: Annotated[list[str] | None, typer.Option(help=f"{', '.join(COMPARISONS)}; repeatable. Default: all.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the slow sides that are timed.")] = 3,
    tutorial_batch: Annotated[int, typer.Option(min=1, help="Examples of a batch; the tutorial has 8,192.")] = 8192,
    sequences: Annotated[int, typer.Option(min=1, help="Sequences of a batch of the padded training.")] = 128,
    rows: Annotated[int, typer.Option(min=1000, help="Rows of each of the two tables.")] = 1_000_000,
    to_recall: Annotated[float | None, typer.Option(
        help="Instead: train until validation recall@10 is not below this, and say when.")] = None,
    minutes: Annotated[float, typer.Option(help="The longest training of --to-recall and --test.")] = 5,
    test: Annotated[Path | None, typer.Option(
        help="Instead: train for --minutes, write the predictions on test to this file, and say their recall@10. "
             "For the end, once: test is not for choosing.")] = None,
    given: Annotated[list[str] | None, typer.Option(
        "--set", metavar="train.FIELD=VALUE", help="Change a setting of the training; repeatable. --to-recall and "
        "--test train one member unless told otherwise: two would share the minutes.")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
) -> None:
    """Print the ratio of each comparison with both absolute figures, or the recall by the minute.

    Example: `CUDA_VISIBLE_DEVICES= taskset -c 1 python -m benchmarks.training --only tutorial`

    Example: `python -m benchmarks.training --to-recall 0.12 --minutes 5`

    Example: `python -m benchmarks.training --minutes 5 --test predictions.parquet`
    """
    logging.getLogger("vitrine").setLevel(logging.WARNING)
    own = parse_settings(given, ("train",)).get("train", {})
    settings = TrainSettings(**own)
    if to_recall is not None or test is not None:
        found = run_to_recall(data, TrainSettings(**{"members": 1, **own}), minutes, to_recall, test)
        if to_recall is not None and found["reached_s"] is None:
            print(f"valid recall@10 {to_recall:g} was not reached in {minutes:g} minutes")
        if out is not None:
            write_json(out, found)
        return
    chosen = set(only or COMPARISONS)
    if unknown := chosen - set(COMPARISONS):
        raise typer.BadParameter(f"--only {', '.join(sorted(unknown))}: choose among {', '.join(COMPARISONS)}")
    comparisons = []
    with tempfile.TemporaryDirectory(prefix="vitrine-speed-") as name:
        if "tables" in chosen:
            from benchmarks.training_tables import tables_alone, whole_training

            (Path(name) / "log").mkdir()
            comparisons += [tables_alone(steps, rows=rows), whole_training(Path(name) / "log", settings, steps, rows)]
        if chosen - {"tables"}:
            from pipelines.protocol import encode_protocol

            (Path(name) / "snapshot").mkdir()
            encode_protocol(data, Path(name) / "snapshot")
            comparisons += compare(SnapshotData.load(Path(name) / "snapshot"), chosen, settings, steps, tutorial_batch,
                                   sequences)
    for comparison in comparisons:
        print(comparison.text())
    if out is not None:
        write_json(out, [comparison.document() for comparison in comparisons])


if __name__ == "__main__":
    typer.run(main)
