"""Text search against BM25: does a query find the item that it was made from?

    python -m benchmarks.search --data ../shared/datasets/xwines --trained .vitrine/artifacts/train/KEY

Three sets of queries, none of them seen in training (models/query_sets.py):

- exact: two to four words of an item's title;
- shifted: the same, a third of the words (at least one) replaced by words of the item's other columns;
- misspelt: exact, with a typing mistake in the longest word.

BM25 (bm25s, Lucene's variant, k1 1.5, b 0.75) cuts words as the encoder does and indexes, once, all columns that the
encoder reads (title, categories, lists, descriptions), and once the title alone.

recall@10 is the part of the queries with their own item among the ten best; where scores tie at the border, the chance
of it under random order. recall@10, all that match: of the items that hold every word of the query (misspelt: of what
was meant), the part found in the first ten, of at most ten.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import bm25s
import numpy as np
import numpy.typing as npt
import pandas as pd
import typer

from models.query_encoder import FittedSearch, fit
from models.query_sets import Query, held_items, hold_out
from models.search_figures import K, held_queries, hit
from pipelines import columns as c
from pipelines.errors import DataError
from pipelines.item_texts import ItemText, item_texts
from pipelines.schema import display_columns, infer_fields, kinds
from pipelines.search_settings import SearchSettings
from pipelines.shop_spec import load_spec
from serving.encoding import Floats

BLOCK = 256  # queries whose scores are at hand at once

Scorer = Callable[[Sequence[Query]], Floats]  # queries -> scores [queries, items]


def read_shop(data: Path) -> tuple[list[str], list[ItemText]]:
    """Ids and words of the items of a shop's folder, in the order of a snapshot's rows.

    Raises:
        DataError: the folder has no items.parquet.
    """
    if not (data / "items.parquet").is_file():
        raise DataError(f"{data} has no items.parquet: give a shop's folder")
    items = pd.read_parquet(data / "items.parquet").sort_values(c.ITEM, kind="stable", ignore_index=True)
    fields = kinds(infer_fields(items, c.ITEM, load_spec(str(data))))
    return items[c.ITEM].astype(str).tolist(), item_texts(items, fields, display_columns(items)["title"])


def bm25_scorer(documents: Sequence[Sequence[str]]) -> Scorer:
    """BM25 over words; a query none of whose words occurs scores 0 everywhere."""
    # An empty document has no words to index: a word that cannot be typed stands for it.
    index = bm25s.BM25()
    index.index([list(d) or ["\0"] for d in documents], show_progress=False)

    def scores(queries: Sequence[Query]) -> Floats:
        rows = []
        for query in queries:
            known = [w for w in query.words if w in index.vocab_dict]
            rows.append(index.get_scores(known) if known else np.zeros(len(documents), np.float32))
        return np.stack(rows)

    return scores


def encoder_scorer(fitted: FittedSearch, vectors: Floats) -> Scorer:
    """Inner products of query vectors with `vectors` [items, D + 1 + S]."""
    return lambda queries: np.stack([fitted.encoder.of_words(q.words) for q in queries]) @ vectors.T


def found_share(scores: Floats, matching: set[int]) -> float:
    """Part of the `matching` items in the K best of `scores` [items], of at most K."""
    best = np.argsort(-scores, kind="stable")[:K]
    return len(matching.intersection(best.tolist())) / min(K, len(matching))


def measure(
    score: Scorer, queries: Sequence[Query], meant: Sequence[Query], texts: Sequence[ItemText],
    held: npt.NDArray[np.bool_],
) -> dict[str, float]:
    """Recall@10 of `queries`: of all, of those of known and of held items, and of all items that match `meant`."""
    holders: dict[str, set[int]] = {}
    for row, text in enumerate(texts):
        for word in text.words:
            holders.setdefault(word, set()).add(row)
    hits, shares = [], []
    for first in range(0, len(queries), BLOCK):
        block = slice(first, first + BLOCK)
        for query, wanted, scores in zip(queries[block], meant[block], score(queries[block]), strict=True):
            hits.append(hit(scores, query.item))
            shares.append(found_share(scores, set.intersection(*(holders[w] for w in wanted.words))))
    is_held, array = held[[q.item for q in queries]], np.array(hits)
    parts = {"recall@10": array, "known items": array[~is_held], "held items": array[is_held],
             "all that match": np.array(shares)}
    return {name: float(part.mean()) if len(part) else float("nan") for name, part in parts.items()}


def microseconds(fitted: FittedSearch, queries: Sequence[Query]) -> float:
    """Median time of one query vector, from its text."""
    times = []
    for text in [" ".join(q.words) for q in queries[:2000]]:
        begin = time.perf_counter()
        fitted.encoder.vector(text)
        times.append(time.perf_counter() - begin)
    return float(np.median(times)) * 1e6


def main(
    data: Annotated[Path, typer.Option(help="Shop's folder with items.parquet.", exists=True, file_okay=False)],
    trained: Annotated[Path, typer.Option(help="Folder of the train stage, with item_vectors.npy.", exists=True)],
    text_dimensions: Annotated[str, typer.Option(help="Text blocks to compare; 0 is behaviour alone.")] = "0,128",
    queries: Annotated[int, typer.Option(help="Queries a set, at most.", min=1)] = 4000,
    steps: Annotated[int, typer.Option(
        help="Training steps, at least: large catalogues take more.", min=1)] = SearchSettings().steps,
    seed: Annotated[int, typer.Option(help="Of the queries; training has its own.")] = 1,
    out: Annotated[Path | None, typer.Option(help="JSON file of all figures.")] = None,
    new_products: Annotated[bool, typer.Option(
        help="Leave the held items out of training altogether and embed them afterwards.")] = False,
) -> None:
    """Train the query encoder on a shop and compare its recall@10 with BM25's.

    Example: `python -m benchmarks.search --data ../shared/datasets/xwines --trained .vitrine/artifacts/train/KEY`
    """
    item_ids, texts = read_shop(data)
    behaviour: Floats = np.load(trained / "item_vectors.npy", allow_pickle=False)
    if len(behaviour) != len(texts):
        raise DataError(f"{trained} has vectors of {len(behaviour)} items, {data} has {len(texts)}: "
                        "give the training of this shop")
    held = held_items(item_ids)
    drawn = held_queries(texts, held, queries, seed)
    if not drawn.exact:
        raise DataError(f"no item of {data} has a title of two words: there is nothing to ask")
    sets = {"exact": drawn.exact, "shifted": drawn.shifted, "misspelt": drawn.misspelt}
    sets = {name: asked for name, asked in sets.items() if asked}
    meant = sets | {"misspelt": drawn.meant}

    scorers = {"BM25, all text": bm25_scorer([t.words for t in texts]),
               "BM25, title": bm25_scorer([t.title for t in texts])}
    times = {}
    for dimension in map(int, text_dimensions.split(",")):
        begin = time.perf_counter()
        settings = SearchSettings(text_dimension=dimension, steps=steps)
        kept = np.flatnonzero(~held) if new_products else np.arange(len(texts))
        fitted = fit([texts[i] for i in kept], behaviour[kept], settings,
                     hold_out([texts[i] for i in kept], held[kept]))
        vectors = np.concatenate([behaviour, fitted.encoder.text_block([t.words for t in texts])], axis=1)
        name = f"encoder, text {dimension}"
        times[name] = {"train_s": time.perf_counter() - begin, "query_us": microseconds(fitted, sets["exact"])}
        scorers[name] = encoder_scorer(fitted, vectors)

    figures: dict[str, dict[str, dict[str, float]]] = {}
    for which, asked in sets.items():
        print(f"\n{which}: {len(asked):,} queries, {int(held[[q.item for q in asked]].sum()):,} of held items")
        figures[which] = {}
        for name, score in scorers.items():
            found = figures[which][name] = measure(score, asked, meant[which], texts, held)
            print(f"  {name:18}" + "  ".join(f"{k} {v:.4f}" for k, v in found.items()))
        for name in times:
            ratios = (f"{figures[which][name]['recall@10'] / figures[which][b]['recall@10']:.3f} x {b}"
                      for b in scorers if b.startswith("BM25"))
            print(f"  {name}: {', '.join(ratios)}")
    for name, took in times.items():
        print(f"{name}: trained in {took['train_s']:.0f} s, {took['query_us']:.0f} us a query vector (median)")
    if out is not None:
        out.write_text(json.dumps({"data": data.name, "items": len(texts), "figures": figures, "times": times},
                                  indent=1), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
