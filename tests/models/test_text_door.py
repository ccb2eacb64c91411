"""Search by words as a training leaves it: files that serve, figures of what was held out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.text_door import train_search
from pipelines.artifacts import read_json
from pipelines.item_texts import write_texts
from pipelines.search_settings import SearchSettings
from serving.doors import ITEM_TEXT, TextPart
from serving.retriever import ExactRetriever

KINDS = (("title", "text"), ("colour", "categorical"))
SMALL = SearchSettings(text_dimension=32, steps=150, batch=64)
NAMES = ["clutch", "scarf", "loafer", "pendant", "blazer", "satchel", "bracelet", "tunic", "cardigan", "sandal"]
STUFFS = ["silk", "velvet", "suede", "denim", "cashmere", "leather", "linen", "tweed", "satin", "wool"]


def shop(folder: Path, items: int = 100) -> np.ndarray:
    """Every stuff of every name, in one of two colours; behaviour says nothing."""
    table = pd.DataFrame({
        "title": [f"{STUFFS[n // 10]} {NAMES[n % 10]} model {n}" for n in range(items)],
        "colour": [("crimson", "ivory")[n % 2] for n in range(items)],
    })
    write_texts(table, KINDS, "title", folder)
    return np.random.default_rng(0).normal(size=(items, 9)).astype(np.float32)


def test_what_it_leaves_serves_and_finds_what_was_held_out(tmp_path: Path) -> None:
    vectors = shop(tmp_path)
    door = train_search(tmp_path, vectors, SMALL, tmp_path)
    assert door.closed is None
    part = TextPart.load(tmp_path, np.load(tmp_path / ITEM_TEXT), *vectors.shape)
    # A made-up chance level: ten of a hundred.
    assert set(door.figures) == {"exact_recall@10", "shifted_recall@10", "misspelt_recall@10"}
    assert all(value > 0.6 for value in door.figures.values()), door.figures
    retriever = ExactRetriever(vectors, part.vectors)
    rows, _ = retriever.search(part.encoder.vector("Denim pendant")[None], 1)
    assert rows.tolist() == [[33]]


def test_the_figures_are_those_of_the_held_out_queries_in_its_file(tmp_path: Path) -> None:
    vectors = shop(tmp_path)
    door = train_search(tmp_path, vectors, SMALL, tmp_path)
    queries = read_json(tmp_path / "search_queries.json")
    part = TextPart.load(tmp_path, np.load(tmp_path / ITEM_TEXT), *vectors.shape)
    space = np.concatenate([vectors, part.vectors], axis=1)
    exact = [q for q in queries if not {"crimson", "ivory"} & set(q["typed"].split())]
    best = [np.argsort(-(space @ part.encoder.vector(q["typed"])))[:10] for q in exact]
    hits = [q["item"] in top for q, top in zip(exact, best, strict=True)]
    assert np.mean(hits) == pytest.approx(door.figures["exact_recall@10"], abs=1e-6)


def test_a_small_shop_has_queries_of_its_products_words(tmp_path: Path) -> None:
    train_search(tmp_path, shop(tmp_path, 3), SMALL.model_copy(update={"steps": 2}), tmp_path)
    typed = {(q["typed"], q["item"]) for q in read_json(tmp_path / "search_queries.json")}
    assert {("silk clutch model", 0), ("silk scarf model", 1), ("silk loafer model", 2)} <= typed


def test_a_shop_without_words_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    door = train_search(tmp_path, np.ones((3, 9), np.float32), SMALL, tmp_path)
    assert door.closed == "no product of the shop has a word in a title, category, list or text"
    assert list(tmp_path.iterdir()) == []
