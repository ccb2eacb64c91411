"""What a bundle of the store holds and answers, without opening it in this process."""

from pathlib import Path

import pyarrow.parquet as pq

from pipelines import trial
from pipelines.artifacts import read_json
from pipelines.columns import ITEM
from serving.panel import NOBODY, Panel
from serving.probe import NO_ITEM


def items_of(bundle: Path) -> list[str]:
    """Ids of the items of a bundle folder [items], in row order."""
    return [str(item) for item in pq.read_table(bundle / "items.parquet", columns=[ITEM]).column(0).to_pylist()]


def ask(bundle: Path, panel: Panel, k: int) -> list[list[str]]:
    """Lists of up to k item ids, by a process of its own: the first for nobody, then one a shopper of the panel.

    Raises:
        BundleRefused: the bundle does not load or answer, or the process died of it.
        VitrineError: the process was ended from outside, or did not answer in time.
    """
    asked = panel.model_copy(update={"shoppers": (NOBODY, *panel.shoppers)})
    ids, _ = trial.ask(bundle, asked.requests(read_json(bundle / "spec.json")["user_slots"]), k)
    return [[str(item) for item in row if item != NO_ITEM] for row in ids]
