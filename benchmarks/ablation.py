"""What each choice of the training is worth: variants of it on the protocol's data sets, beside the default.

`vitrine ablate` does so for one shop and keeps its trainings in MLflow; this is for the documents. The protocol's
scorer judges each variant on `valid`, and each is compared with the default question by question.
"""

import json
import logging
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import typer

from benchmarks.quality import TWO_TOWER, Cell, folders, judge, predict
from models.metrics import differences
from pipelines.ablate_variants import Variant, built_in, chosen
from pipelines.errors import VitrineError
from pipelines.revision import git_revision
from pipelines.train_settings import TrainSettings

SPLIT, K, SAMPLES = "valid", 10, 1000  # test is not for choosing
log = logging.getLogger("ablation")


def answer_ranks(folder: Path, lists: Path) -> pd.DataFrame:
    """By row_id, in order: `rank` of the event's item in its list from 1, 0 where it is not in it, and `user_id`."""
    events = pd.read_parquet(folder / "events.parquet", columns=["row_id", "user_id", "item_id"])
    asked = pd.read_parquet(lists).merge(events, on="row_id", how="left", validate="one_to_one").sort_values("row_id")
    places = [np.flatnonzero(np.asarray(shown[:K]) == item) for shown, item in
              zip(asked["item_ids"], asked["item_id"], strict=True)]
    rank = [int(place[0]) + 1 if len(place) else 0 for place in places]
    return pd.DataFrame({"rank": rank, "user_id": asked["user_id"].to_numpy()}, index=asked["row_id"].to_numpy())


def difference(ours: pd.DataFrame, default: pd.DataFrame, seed: int) -> tuple[float, float, float]:
    """Recall@10 of ours minus the default's, paired by question: mean and 95 % interval over users.

    Raises:
        VitrineError: they were asked other questions.
    """
    if not ours.index.equals(default.index):
        raise VitrineError(f"{len(ours):,} answers cannot be paired with the default's {len(default):,}, which are of "
                           "other events: remove the folder of --work and start again")
    users = pd.factorize(default["user_id"])[0]
    ranks, others = (frame["rank"].to_numpy(np.int32) for frame in (ours, default))
    found = differences(ranks, others, users, [K], samples=SAMPLES, seed=seed)[f"recall@{K}"]
    return found["mean"], found["low"], found["high"]


def measured(folder: Path, variant: Variant, work: Path, scorer: Path) -> Cell:
    """Train a variant, unless `work` has its cell and lists from an earlier call, and let the scorer judge.

    Raises:
        VitrineError: the training or the scorer failed.
    """
    settings = {name: value for name, value in variant.fields.items() if value != getattr(TrainSettings(), name)}
    place = work / folder.resolve().name / (",".join(f"{k}={v}" for k, v in sorted(settings.items())) or "default")
    cell, lists = place / "cell.json", place / "lists.parquet"
    if not cell.exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        commit, began = (git_revision() or "unknown")[:9], time.monotonic()
        predict(folder, SPLIT, TWO_TOWER, settings, lists)
        seconds = round(time.monotonic() - began)
        said = judge(folder, lists, SPLIT, scorer)
        figures = {name: said[name] for name in ("events", "recall@10", "ndcg@10", "coverage@10")}
        cell.write_text(json.dumps({"commit": commit, "seconds": seconds, **figures}), encoding="utf-8")
    return {"dataset": folder.resolve().name, "variant": variant.name, "about": variant.about, "lists": str(lists),
            **json.loads(cell.read_text(encoding="utf-8"))}


def compared(folder: Path, variants: Sequence[Variant], work: Path, scorer: Path) -> Iterator[Cell]:
    """The cells of a data set; all but the first with their difference from it."""
    seed = variants[0].settings.seed
    default: pd.DataFrame | None = None
    for variant in variants:
        cell = measured(folder, variant, work, scorer)
        ranks = answer_ranks(folder, Path(cell["lists"]))
        if default is None:
            default = ranks
        else:
            cell |= dict(zip(("difference", "low", "high"), difference(ranks, default, seed), strict=True))
        log.info("%s", json.dumps(cell))
        yield cell


def table(cells: Sequence[Cell]) -> str:
    """Markdown: a line a variant, a column a data set; the default's figures, and the others' differences."""
    names = list(dict.fromkeys(cell["dataset"] for cell in cells))
    of = {(cell["dataset"], cell["variant"]): cell for cell in cells}
    lines = [f"| variant | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for variant, about in dict.fromkeys((cell["variant"], cell["about"]) for cell in cells):
        shown = [_shown(of.get((name, variant))) for name in names]
        label = about if about == variant else f"{about} (`{variant}`)"
        lines.append(f"| {label} | {' | '.join(shown)} |")
    commits = ", ".join(dict.fromkeys(cell["commit"] for cell in cells))
    minutes = sum(cell["seconds"] for cell in cells) / 60
    return "\n".join([*lines, "", f"Commit {commits}, {minutes:.0f} minutes in all."])


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return "not measured"
    if "difference" not in cell:
        return f"{cell['recall@10']:.4f} / {cell['ndcg@10']:.4f}".replace("0.", ".")
    mean, low, high = (f"{cell[name]:+.4f}".replace("0.", ".") for name in ("difference", "low", "high"))
    return f"{mean} ({low} to {high})"


def main(
    data: Annotated[list[Path], typer.Option(help="Folder of the measuring protocol, or of several; repeatable.",
                                             exists=True, file_okay=False)],
    scorer: Annotated[Path, typer.Option(help="The protocol's score.py.", exists=True)],
    members: Annotated[int, typer.Option(min=1, help="Of the default and of all variants.")] = 1,
    variant: Annotated[list[str] | None, typer.Option(
        metavar="FIELD=VALUE[,FIELD=VALUE]", help="Instead of the built-in ones; repeatable.")] = None,
    work: Annotated[Path, typer.Option(help="Predictions and figures; what is in it is not trained again.")] = Path(
        ".vitrine/ablation"),
) -> None:
    """Measure on `valid` what each choice of the training is worth, with paired intervals.

    Example: `python -m benchmarks.ablation --data ../shared/datasets/xwines --scorer ../shared/protocol/score.py`
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    base = TrainSettings(members=members, refit=False)
    given = chosen(base, variant) if variant else []
    cells: list[Cell] = []
    for folder in (each for parent in data for each in folders(parent)):
        variants = given or built_in(base, pq.read_metadata(folder / "items.parquet").num_rows)
        cells += compared(folder, variants, work, scorer)
    print(table(cells))


if __name__ == "__main__":
    try:
        typer.run(main)
    except VitrineError as error:
        sys.exit(str(error))
