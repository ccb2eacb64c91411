"""Does a basket find what was taken with it? Recall@10 of the product that is left out of a purchase.

    vitrine retrain --data .vitrine/sample --as-of 2026-06-28 --dry-run --set train.refit=false
    python -m benchmarks.baskets --trained .vitrine/artifacts/train/KEY

A basket is what one customer bought (of a log without purchases: took) within half an hour, in the validation and test
windows, which this training must not have learned from; one product of each is left out. Compared are the answer of
`vitrine basket`, the cosine with the basket's item vectors, and counts of the customers who took both (on the sample
shop no weighting of the counts by popularity was better).
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from scipy import sparse

from models.ranking import top_items
from models.two_tower_scorer import TwoTowerScorer
from pipelines.artifacts import load_contract, read_json
from pipelines.columns import PURCHASE
from pipelines.contracts import Trained
from pipelines.errors import DataError, SettingsError
from pipelines.snapshot import TRAIN, SnapshotData
from serving.encoding import Floats, Limits, encode
from serving.recommender import basket_history

K = 10
TOGETHER_US = 1_800_000_000  # a pause after which another basket begins


class Question(NamedTuple):
    """A basket and the item that was left out of it."""

    items: tuple[int, ...]
    left_out: int


def questions(data: SnapshotData, number: int, seed: int) -> list[Question]:
    """At most `number` baskets of two items or more, each with one of them left out at random.

    Raises:
        DataError: nobody took two products together after the training window.
    """
    h, types = data.histories, data.spec["event_types"]
    kept = (np.asarray(h.split) != TRAIN) & (np.asarray(h.weight) > 0)
    if PURCHASE in types:
        kept &= np.asarray(h.type) == types.index(PURCHASE)
    user = np.repeat(np.arange(data.num_users), np.diff(h.indptr))[kept]
    time, item = np.asarray(h.time)[kept], np.asarray(h.item)[kept]
    begins = np.flatnonzero((np.diff(user, prepend=-1) != 0) | (np.diff(time, prepend=0) > TOGETHER_US))
    baskets = [list(dict.fromkeys(part.tolist())) for part in np.split(item, begins[1:])]
    baskets = [basket for basket in baskets if len(basket) > 1]
    if not baskets:
        raise DataError(f"{data.path}: nobody took two products together after the training window")
    rng = np.random.default_rng(seed)
    chosen = [baskets[i] for i in rng.permutation(len(baskets))[:number]]
    return [Question(tuple(basket[:at] + basket[at + 1 :]), basket[at])
            for basket in chosen for at in [int(rng.integers(len(basket)))]]


def recall(scores: Floats, asked: Sequence[Question]) -> float:
    """Part of the questions whose item is among the K best of `scores` [questions, items], the basket apart."""
    shown = scores.astype(np.float32)
    for row, question in enumerate(asked):
        shown[row, list(question.items)] = -np.inf
    best = top_items(shown, K)
    return float(np.mean([question.left_out in found for question, found in zip(asked, best.tolist(), strict=True)]))


def tower_scores(data: SnapshotData, scorer: TwoTowerScorer, asked: Sequence[Question]) -> Floats:
    """Scores [questions, items] as `vitrine basket` ranks by."""
    spec = data.spec
    histories = [basket_history(question.items, spec) for question in asked]
    inputs = encode(histories, np.zeros(len(asked), np.int64), np.zeros((len(asked), spec["user_slots"]), np.int32),
                    scorer.item_inputs, Limits.of(spec))
    scores: Floats = scorer.tower.vectors(inputs) @ scorer.item_vectors.T
    return scores


def cosine_scores(item_vectors: Floats, asked: Sequence[Question]) -> Floats:
    """Sums of cosines [questions, items] with the items of the basket."""
    plain = item_vectors[:, :-1]
    unit = plain / np.maximum(np.linalg.norm(plain, axis=1, keepdims=True), 1e-12)
    scores: Floats = np.stack([unit[list(question.items)].sum(axis=0) for question in asked]) @ unit.T
    return scores


def counted_scores(data: SnapshotData, asked: Sequence[Question]) -> Floats:
    """Customers [questions, items] of the training window who took both, summed over the basket."""
    h = data.histories
    kept = (np.asarray(h.split) == TRAIN) & (np.asarray(h.weight) > 0)
    user, item = np.repeat(np.arange(data.num_users), np.diff(h.indptr))[kept], np.asarray(h.item)[kept]
    pairs = np.unique(np.stack([user, item], axis=1), axis=0)
    taken: Any = sparse.csr_array((np.ones(len(pairs), np.float32), tuple(pairs.T)),
                                  shape=(data.num_users, data.num_items))
    basket = np.zeros((len(asked), data.num_items), np.float32)
    for row, question in enumerate(asked):
        basket[row, list(question.items)] = 1
    counted: Floats = (taken.T @ (taken @ basket.T)).T
    return counted


def main(
    trained: Annotated[Path, typer.Option(help="Folder of the train stage.", exists=True, file_okay=False)],
    number: Annotated[int, typer.Option(min=1, help="Baskets, at most.")] = 3000,
    seed: int = 0,
) -> None:
    """Recall@10 of the product that is left out of a basket.

    Example: `python -m benchmarks.baskets --trained .vitrine/artifacts/train/KEY`
    """
    if read_json(trained / "settings.json")["refit"]:
        raise SettingsError(f"{trained} has learned from the baskets it is asked with: train with "
                            "--set train.refit=false")
    data, scorer = SnapshotData.load(load_contract(Trained, trained).snapshot.path), TwoTowerScorer.load(trained)
    asked = questions(data, number, seed)
    print(f"{len(asked):,} baskets of {np.mean([len(q.items) for q in asked]):.1f} products and one left out, "
          f"among {data.num_items:,}")
    for name, scores in (("vitrine basket", tower_scores(data, scorer, asked)),
                         ("cosine", cosine_scores(scorer.item_vectors, asked)),
                         ("item-item", counted_scores(data, asked))):
        found = recall(scores, asked)
        print(f"  {name:16} recall@{K} {found:.4f}  (standard error {(found * (1 - found) / len(asked)) ** 0.5:.4f})")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    typer.run(main)
