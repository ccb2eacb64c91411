"""What a retrain tells at its end: the verdict, the comparison and some recommendations to look at."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.columns import PURCHASE
from pipelines.contracts import Evaluated, Verdict
from pipelines.errors import DataError
from pipelines.snapshot import Histories, SnapshotData
from serving.bundle import Bundle
from serving.encoding import History
from serving.query_text import split_words
from serving.recommender import Recommendation, Recommender

METRICS = ("recall@10", "recall@50", "ndcg@10", "coverage@10")
CUSTOMERS, PRODUCTS, BOUGHT = 3, 10, 5
SEARCHED, FOUND = 3, 5  # words of the best-seller's title that are searched for, and products that are shown for them
# Fewer purchases say too little about a customer to judge the recommendations by eye.
ENOUGH = 5


def show_verdict(console: Console, verdict: Verdict) -> None:
    """The gate's checks, one a row."""
    answer = "accepted" if verdict.accepted else "refused"
    table = Table(title=f"Verdict: {answer}", title_justify="left", title_style="bold")
    for column in ("check", "passed", "value", "threshold", "reason"):
        table.add_column(column, justify="right" if column in ("value", "threshold") else "left")
    for check in verdict.checks:
        passed = Text("yes", "green") if check.passed else Text("no", "bold red")
        table.add_row(check.name, passed, _number(check.value), _number(check.threshold), check.reason)
    console.print(table)


def show_comparison(console: Console, evaluated: Evaluated) -> None:
    """The two-tower model beside the baselines, best figure of each column in bold."""
    models = {"two-tower": evaluated.metrics, **evaluated.baselines}
    metrics = [name for name in METRICS if any(name in figures for figures in models.values())]
    table = Table(title="Same events, same candidates", title_justify="left", title_style="bold")
    table.add_column("model")
    for name in metrics:
        table.add_column(name, justify="right")
    best = {name: max(figures[name] for figures in models.values() if name in figures) for name in metrics}
    for model, figures in models.items():
        values = [(figures.get(name), best[name]) for name in metrics]
        table.add_row(model, *(Text(_number(value), "bold" if value == top else "") for value, top in values))
    console.print(table)


def show_recommendations(console: Console, bundle_folder: Path, snapshot_folder: Path, now_us: int) -> None:
    """Ten recommendations for three customers beside what they bought; of the best-seller, products like it, those that
    its first words find, and those that go with it.

    Args:
        console: where to show them.
        bundle_folder: the sealed bundle that answers.
        snapshot_folder: the snapshot it was trained on, for the customers' histories.
        now_us: the moment of asking, microseconds since 1970, UTC.

    Raises:
        DataError: nobody bought enough to be shown.
    """
    recommender = Recommender(Bundle.load(bundle_folder))
    data = SnapshotData.load(snapshot_folder)
    ids = pq.read_table(snapshot_folder / "users.parquet")
    bought = purchases(data.histories, data.spec["event_types"])
    for user in customers_to_show(data.histories, bought):
        history = history_of(data.histories, user)
        mine = bought[data.histories.indptr[user] : data.histories.indptr[user + 1]]
        found = recommender.recommend(history, now_us, np.asarray(data.user_tokens[user]), PRODUCTS)
        rows = [item.row for item in found]
        _show_customer(console, recommender.bundle, str(ids["user_id"][user]), history.item[mine], rows)
    row = int(recommender.bundle.popularity[0])
    _show_products(console, recommender.bundle, f"Similar to {product(recommender.bundle, row)}",
                   recommender.similar(row, PRODUCTS))
    if recommender.bundle.text is not None:
        words = " ".join(split_words(str(recommender.bundle.display(row)["title"] or ""))[:SEARCHED])
        if words:
            _show_products(console, recommender.bundle, f'Search for "{words}"', recommender.search(words, FOUND))
    _show_products(console, recommender.bundle, f"Goes with {product(recommender.bundle, row)}",
                   recommender.basket([row], FOUND))


def purchases(histories: Histories, event_types: list[str]) -> npt.NDArray[np.bool_]:
    """[events] Which events are purchases: by their type, or all positives where no type is called so."""
    if PURCHASE in event_types:
        return np.asarray(histories.type == event_types.index(PURCHASE))
    return np.asarray(histories.weight > 0)


def customers_to_show(histories: Histories, is_bought: npt.NDArray[np.bool_]) -> list[int]:
    """Rows of the customers who bought enough and came last, the latest first.

    Raises:
        DataError: there is none.
    """
    running = np.concatenate([[0], np.cumsum(is_bought)])
    enough = np.flatnonzero(np.diff(running[histories.indptr]) >= ENOUGH)
    if not len(enough):
        raise DataError(f"no customer has {ENOUGH} purchases: there is nobody to show recommendations for")
    last = histories.time[histories.indptr[enough + 1] - 1]
    return [int(user) for user in enough[np.argsort(-last, kind="stable")[:CUSTOMERS]]]


def history_of(histories: Histories, user: int) -> History:
    """All events of one user."""
    cut = slice(int(histories.indptr[user]), int(histories.indptr[user + 1]))
    return History(
        np.asarray(histories.item[cut]), np.asarray(histories.time[cut]),
        np.asarray(histories.type[cut]), np.asarray(histories.weight[cut]),
    )


def product(bundle: Bundle, row: int) -> str:
    """An item as people read it: title, category and price, or its id where nothing else is known."""
    shown = bundle.display(row)
    parts = [str(shown["title"] or shown["item_id"])]
    parts += [str(shown["category"])] if shown["category"] else []
    parts += [f"{shown['price']:,.2f}"] if isinstance(shown["price"], int | float) else []
    return ", ".join(parts)


def _show_products(console: Console, bundle: Bundle, title: str, found: Sequence[Recommendation]) -> None:
    console.print(Text(f"\n{title}", "bold"))
    for rank, item in enumerate(found, 1):
        console.print(Text(f"  {rank:>2}. {product(bundle, item.row)}  ({item.score:.2f})"))


def _show_customer(
    console: Console, bundle: Bundle, user_id: str, items: npt.NDArray[np.int32], found: list[int]
) -> None:
    console.print(Text(f"\nCustomer {user_id}", "bold"))
    # Newest first, each product once.
    bought = list(dict.fromkeys(int(item) for item in items[::-1]))
    for item in bought[:BOUGHT]:
        console.print(Text(f"  bought   {product(bundle, item)}", "dim"))
    if len(bought) > BOUGHT:
        console.print(Text(f"  ... and {len(bought) - BOUGHT} more", "dim"))
    for rank, row in enumerate(found, 1):
        console.print(Text(f"  {rank:>2}. {product(bundle, row)}"))


def _number(value: Any) -> str:
    return "" if value is None else (f"{value:.4f}" if abs(value) >= 0.001 or value == 0 else f"{value:.1e}")
