"""The benchmark of text search: its measures on scores whose answer is plain, and the whole command on a toy shop."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from benchmarks.search import bm25_scorer, found_share, main
from models.query_sets import Query
from models.search_figures import hit
from tests.world import write_world


def test_a_tie_at_the_border_counts_by_its_chance() -> None:
    scores = np.array([9.0] * 8 + [5.0] * 4 + [1.0] * 8)
    assert hit(scores, 3) == 1
    # Eight stand above, four share the two places left.
    assert hit(scores, 10) == 0.5
    assert hit(scores, 15) == 0


def test_of_many_that_match_ten_are_enough() -> None:
    scores = -np.arange(30.0)  # the first ten rows are the ten best
    assert found_share(scores, {0, 5, 20, 21}) == 0.5
    assert found_share(scores, set(range(30))) == 1.0


def test_bm25_ranks_the_holder_first_and_knows_nothing_of_foreign_words() -> None:
    score = bm25_scorer([["red", "bag"], ["red", "scarf"], [], ["blue", "bag"]])
    scores = score([Query(0, ("red", "bag")), Query(0, ("zzz",))])
    assert scores.shape == (2, 4)
    assert scores[0].argmax() == 0
    assert scores[1].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("more", [[], ["--new-products"]])
def test_the_command_compares_on_a_toy_shop(tmp_path: Path, more: list[str]) -> None:
    write_world(tmp_path / "shop", items=100)
    (tmp_path / "trained").mkdir()
    vectors = np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32)
    np.save(tmp_path / "trained" / "item_vectors.npy", vectors, allow_pickle=False)
    app = typer.Typer()
    app.command()(main)
    answer = CliRunner().invoke(app, [
        "--data", str(tmp_path / "shop"), "--trained", str(tmp_path / "trained"), "--text-dimensions", "16",
        "--queries", "100", "--steps", "60", "--out", str(tmp_path / "figures.json"), *more])
    assert answer.exit_code == 0, answer.output
    figures = json.loads((tmp_path / "figures.json").read_text())["figures"]
    # All words of the toy shop's other columns stand in its titles: nothing can be shifted.
    assert set(figures) == {"exact", "misspelt"}
    assert set(figures["exact"]) == {"BM25, all text", "BM25, title", "encoder, text 16"}
    assert all(0 <= part["recall@10"] <= 1 for found in figures.values() for part in found.values())
