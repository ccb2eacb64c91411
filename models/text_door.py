"""Search by words, trained on a snapshot beside its towers: the query encoder, the text block, and what they reach."""

import time
from pathlib import Path

import numpy as np

from models.query_encoder import fit
from models.query_sets import hold_out
from models.search_figures import figures, held_queries
from pipelines.artifacts import write_json
from pipelines.item_texts import ItemText, read_texts
from pipelines.progress import duration, log
from pipelines.search_settings import SearchSettings
from serving.doors import ITEM_TEXT, SEARCH_QUERIES, Door
from serving.encoding import Floats
from serving.retriever import Blocks

_MEASURED = 1000  # queries of each kind
_FEWEST = 100  # queries that an index is tuned by; where fewer are held out, products' own words are added


def train_search(snapshot: Path, item_vectors: Floats, settings: SearchSettings, out: Path) -> Door:
    """Train text search and write its files, serving/doors.py, and search_queries.json into `out`.

    One word set of five is never asked in training (models/query_sets.py); what was held out is measured with the very
    files that serve.

    Args:
        snapshot: folder of the features stage.
        item_vectors: float32 [items, D + 1] of the towers.
        settings: of the training.
        out: folder of the train stage.
    """
    texts = read_texts(snapshot)
    if texts is None:
        return Door(closed="no product of the shop has a word in a title, category, list or text")
    started = time.monotonic()
    # All items are trained on whole; word sets alone are held out.
    held = np.zeros(len(texts), bool)
    fitted = fit(texts, item_vectors, settings, hold_out(texts, held))
    fitted.encoder.save(out)
    np.save(out / ITEM_TEXT, fitted.text_block, allow_pickle=False)
    queries = held_queries(texts, held, _MEASURED, settings.seed)
    found = figures(fitted.encoder, Blocks(item_vectors, fitted.text_block), queries)
    typed = [{"typed": " ".join(q.words), "item": q.item} for q in (*queries.exact, *queries.shifted)]
    write_json(out / SEARCH_QUERIES, typed if len(typed) >= _FEWEST else [*typed, *_own_words(texts)])
    log.info("search: %s in %s", ", ".join(f"{name} {value:.3f}" for name, value in found.items())
             or "nothing to measure it by", duration(time.monotonic() - started))
    return Door(figures=found)


def _own_words(texts: list[ItemText]) -> list[dict[str, str | int]]:
    """The first words of evenly spaced products, as queries."""
    rows = [row for row, text in enumerate(texts) if text.words]
    chosen = {rows[int(place)] for place in np.linspace(0, len(rows) - 1, min(_FEWEST, len(rows)))}
    return [{"typed": " ".join(texts[row].words[:3]), "item": row} for row in sorted(chosen)]
