"""The benchmark of approximate search: vectors and the search for ef by hand, and the whole command on few items."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from benchmarks import ann as module
from benchmarks.ann import Hnsw, clustered, in_turn, main
from pipelines.index_tuning import ExactAnswers


def test_vectors_lie_around_their_centres_at_length_one() -> None:
    centres = 10 * np.eye(3, 8, dtype=np.float32)
    vectors = clustered(300, 8, np.random.default_rng(0), centres)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    # A centre is 10 long and the noise .5 in each column: cosines are far above .9, and others' far below .3.
    cosines = np.sort(vectors @ centres.T / 10, axis=1)
    assert cosines[:, 2].min() > 0.9 and cosines[:, 1].max() < 0.3
    same = clustered(300, 8, np.random.default_rng(0), centres)
    assert np.array_equal(vectors, same)


def test_ef_is_the_smallest_that_is_enough() -> None:
    pytest.importorskip("hnswlib", reason="no part of the lock: it has no wheels")
    rng = np.random.default_rng(1)
    vectors, queries = (clustered(size, 16, rng, np.zeros((1, 16), np.float32)) for size in (2000, 50))
    graph, answers = Hnsw(vectors, 4), ExactAnswers(vectors, queries, 10)
    ef = graph.reach(answers, 0.9)
    assert ef > 10
    assert answers.recall_of(graph.search(queries, 10)) >= 0.9
    graph.graph.set_ef(ef * 9 // 10)
    assert answers.recall_of(graph.search(queries, 10)) < 0.9
    with pytest.raises(LookupError, match=r"M=4 does not reach recall 1\.1"):
        graph.reach(answers, 1.1)


def test_sides_take_turns_and_the_first_round_does_not_count() -> None:
    turns: list[str] = []
    best = in_turn([lambda: turns.append("ours"), lambda: turns.append("theirs")], 2)
    assert turns == ["ours", "theirs"] * 3
    assert all(0 <= seconds < 1 for seconds in best)


def called(out: Path, *more: str) -> Result:
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, ["--items", "4000", "--queries", "100", "--rounds", "1", "--dimension", "16",
                                    "--out", str(out), *more], catch_exceptions=False)


def test_without_hnswlib_it_says_so_or_measures_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    refused = called(tmp_path / "none.json")
    assert refused.exit_code == 2 and "--no-hnswlib" in refused.output
    out = tmp_path / "figures.json"
    assert called(out, "--no-hnswlib").exit_code == 0
    (found,) = json.loads(out.read_text())
    assert found["ours"]["recall"] > 0.85 and found["ours"]["us"] > 0


def test_the_command_compares_at_one_recall(tmp_path: Path) -> None:
    pytest.importorskip("hnswlib", reason="no part of the lock: it has no wheels")
    out = tmp_path / "figures.json"
    answer = called(out)
    assert answer.exit_code == 0, answer.output
    ours, theirs, queries, building = json.loads(out.read_text())
    assert ours["ours"]["recall"] > 0.85 and theirs["hnswlib"]["recall"] > 0.85  # .95 of the queries tuned with
    assert (queries["target"], building["target"]) == (6, 5)
    assert queries["ratio"] == pytest.approx(ours["ours"]["queries_per_s"] / theirs["hnswlib"]["queries_per_s"])
    curve = ours["ours"]["curve"]
    assert max(point["recall"] for point in curve) >= 0.95
    assert f"x{queries['ratio']:.1f}, aimed at 6" in answer.output
