"""The gate: each bad figure is refused by name, and the bundle is tried in a process of its own."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import trial as trials
from pipelines.artifacts import MANIFEST, digest_of, folder_files, write_json
from pipelines.contracts import Ingested, Sealed, Verdict
from pipelines.errors import CorruptArtifact, VitrineError
from pipelines.gate import gate
from pipelines.gate_rules import GateSettings, at_least, metric_checks
from pipelines.index import IndexSettings, index
from pipelines.settings import Settings
from pipelines.trial import largest_difference, slate_fault, trial
from serving.recommender import Request, empty_history
from serving.store import ReleaseStore
from tests.release_world import NO_TOKENS, NOW_US, history_of, item_arrays, make_registered, model_figures


def failed(checks) -> list[str]:
    return [check.name for check in checks if not check.passed]


def make_sealed(root: Path, places: Settings, **world: Any) -> Sealed:
    return index(make_registered(root, **world), IndexSettings(), places, root)


def test_a_good_challenger_without_incumbent_is_accepted(tmp_path: Path, places: Settings, told: list) -> None:
    sealed = make_sealed(tmp_path, places)
    verdict = gate(sealed, GateSettings(), places, tmp_path)
    assert verdict.accepted, [check for check in verdict.checks if not check.passed]
    assert [check.name for check in verdict.checks] == [
        "recall@10", "recall@10_vs_popularity", "recall@10_vs_als", "recall@10_vs_itemknn", "recall@10_vs_ease",
        "coverage@10",
        "recall@10_vs_champion", "index_recall@10", "bundle_answers", "bundle_agrees",
    ]
    by_name = {check.name: check for check in verdict.checks}
    assert "no incumbent" in by_name["recall@10_vs_champion"].reason
    assert by_name["bundle_answers"].value == 13  # nobody and 12 shoppers
    document = json.loads((Path(verdict.path) / "verdict.json").read_text())
    assert document["accepted"] is True
    assert document["bundle"] == sealed.digest
    assert gate(sealed, GateSettings(), places, tmp_path) == verdict
    assert [call[0] for call in told if call[0] == "verdict"] == ["verdict"] * 2  # the record is repeatable too


def test_a_refusal_is_a_verdict_with_its_reasons(tmp_path: Path, places: Settings, caplog) -> None:
    models = model_figures()
    models["als"]["metrics"]["recall@10"] = 0.25
    with caplog.at_level("WARNING", "vitrine"):
        verdict = gate(make_sealed(tmp_path, places, metrics=models), GateSettings(), places, tmp_path)
    assert isinstance(verdict, Verdict)
    assert not verdict.accepted
    assert failed(verdict.checks) == ["recall@10_vs_als"]
    assert "FAIL recall@10_vs_als: 0.2000 is below 0.2500" in caplog.text


@pytest.mark.parametrize(("model", "metric", "value", "name"), [
    ("two_tower", "recall@10", 0.009, "recall@10"),
    ("two_tower", "recall@10", float("nan"), "recall@10"),
    ("two_tower", "coverage@10", 0.009, "coverage@10"),
    ("popularity", "recall@10", 0.21, "recall@10_vs_popularity"),
    ("als", "recall@10", 0.21, "recall@10_vs_als"),
    ("itemknn", "recall@10", 0.21, "recall@10_vs_itemknn"),
    ("ease", "recall@10", 0.21, "recall@10_vs_ease"),
    ("als", "recall@10", None, "recall@10_vs_als"),
    ("two_tower", "coverage@10", None, "coverage@10"),
])
def test_each_bad_or_missing_figure_fails_by_name(model: str, metric: str, value: float | None, name: str) -> None:
    models = model_figures()
    models[model]["metrics"][metric] = value
    if value is None:
        del models[model]["metrics"][metric]
    assert name in failed(metric_checks(models, GateSettings()))
    if model != "two_tower" or metric == "coverage@10":
        assert failed(metric_checks(models, GateSettings())) == [name]


def test_a_missing_baseline_never_passes() -> None:
    models = model_figures()
    del models["popularity"]
    assert failed(metric_checks(models, GateSettings())) == ["recall@10_vs_popularity"]


def test_a_poor_index_is_refused(tmp_path: Path, places: Settings) -> None:
    sealed = make_sealed(tmp_path, places).model_copy(update={"recall": 0.94})
    verdict = gate(sealed, GateSettings(), places, tmp_path)
    assert failed(verdict.checks) == ["index_recall@10"]


def test_at_least_includes_the_threshold() -> None:
    assert at_least("x", 0.5, 0.5, "").passed
    assert not at_least("x", 0.4999, 0.5, "").passed
    assert not at_least("x", None, 0.5, "").passed
    assert not at_least("x", 0.5, None, "").passed


def test_a_damaged_bundle_fails_its_trial(tmp_path: Path, places: Settings) -> None:
    sealed = make_sealed(tmp_path, places)
    (Path(sealed.path) / "user_tower.tflite").write_bytes(b"x")
    verdict = gate(sealed, GateSettings(), places, tmp_path)
    assert failed(verdict.checks) == ["bundle_answers", "bundle_agrees"]
    assert "BundleRefused" in next(c.reason for c in verdict.checks if c.name == "bundle_answers")


def test_a_bundle_of_another_training_answers_but_does_not_agree(tmp_path: Path, places: Settings) -> None:
    sealed = make_sealed(tmp_path, places)
    trained = Path(sealed.registered.evaluated.trained.path)
    np.save(trained / "item_vectors.npy", np.load(trained / "item_vectors.npy") * np.float32(1.0001))
    verdict = gate(sealed, GateSettings(), places, tmp_path)
    assert failed(verdict.checks) == ["bundle_agrees"]
    # All scores are a ten-thousandth off.
    difference = next(check.value for check in verdict.checks if check.name == "bundle_agrees")
    assert difference == pytest.approx(1e-4, rel=0.01)


def test_changed_evidence_is_no_evidence(tmp_path: Path, places: Settings) -> None:
    sealed = make_sealed(tmp_path, places)
    (Path(sealed.registered.evaluated.path) / "metrics.json").write_text(json.dumps(model_figures()))
    with pytest.raises(CorruptArtifact, match=r"metrics\.json"):
        gate(sealed, GateSettings(), places, tmp_path)


@pytest.mark.parametrize(("code", "outcome"), [
    ("os.abort()", "died of SIGABRT"),
    ("os.kill(os.getpid(), 9)", None),
    ("raise ImportError('no such library')", None),
])
def test_only_faults_of_the_bundle_itself_count_against_it(tmp_path, places, monkeypatch, code, outcome) -> None:
    sealed = make_sealed(tmp_path, places)
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import os; {code}"\n')
    os.chmod(interpreter, 0o755)
    monkeypatch.setattr(trials.sys, "executable", str(interpreter))
    if outcome is None:
        with pytest.raises(VitrineError, match="run the gate again"):
            gate(sealed, GateSettings(), places, tmp_path)
        assert not list((tmp_path / "gate").iterdir())
    else:
        assert outcome in gate(sealed, GateSettings(), places, tmp_path).checks[-2].reason


def test_slates_are_whole_or_named() -> None:
    requests = [Request(empty_history(), NOW_US, NO_TOKENS), Request(history_of(1), NOW_US, NO_TOKENS)]
    rows = np.stack([np.arange(20), np.arange(20, 40)])
    scores = np.ones((2, 20), np.float32)
    assert slate_fault(rows, scores, requests, 40) is None
    assert slate_fault(rows[:1], scores[:1], requests, 40) == "[1, 20] items came for 2 slates of 20"
    assert slate_fault(rows, np.where(rows == 3, np.nan, scores), requests, 40) == "1 of 40 scores are not finite"
    assert slate_fault(np.where(rows == 3, 4, rows), scores, requests, 40) == "slate 0 has 1 items twice"
    assert slate_fault(rows + 1, scores, requests, 40) == "1 slate items are none of the 40 of the snapshot"
    # User 1 has seen 1, 5 and 9.
    assert slate_fault(np.where(rows == 30, 5, rows), scores, requests, 40) == (
        "slate 1 has 1 items that the shopper has seen")


def test_the_largest_difference_by_hand() -> None:
    # Products: 2 and 4; served 2.0 and 4.4: 0.4 / 4.
    rows, scores = np.array([[0, 1]]), np.array([[2.0, 4.4]], np.float32)
    item_vectors, vectors = np.array([[1, 0], [0, 2]], np.float32), np.array([[2, 2]], np.float32)
    assert largest_difference(rows, scores, vectors, item_vectors) == pytest.approx(0.1, abs=1e-6)


def resealed(sealed: Sealed, folder: Path, change: Callable[[Path], None]) -> Sealed:
    """The bundle with a change, under a whole manifest and the digest that follows: what only a trial can find."""
    shutil.copytree(sealed.path, folder)
    change(folder)
    (folder / MANIFEST).unlink()
    files = folder_files(folder)
    write_json(folder / MANIFEST, {"format": 1, "stage": "index", "key": sealed.key, "files": files})
    return sealed.model_copy(update={"path": str(folder), "digest": digest_of(files)})


def with_items(sealed: Sealed, folder: Path, items: pa.Table) -> Sealed:
    """The same bundle of a shop whose own table of items is `items`."""
    folder.mkdir()
    pq.write_table(items, folder / "items.parquet")
    evaluated = sealed.registered.evaluated
    window = evaluated.trained.snapshot.window
    ingested = Ingested(path=str(folder), key="0" * 64, digest="0" * 64, source="shop", window=window, events=1,
                        items=1, users=1, days=1, first_event=window.as_of, last_event=window.as_of)
    snapshot = evaluated.trained.snapshot.model_copy(update={"ingested": ingested})
    trained = evaluated.trained.model_copy(update={"snapshot": snapshot})
    return sealed.model_copy(update={"registered": sealed.registered.model_copy(update={
        "evaluated": evaluated.model_copy(update={"trained": trained})})})


def test_items_in_another_order_than_their_vectors_do_not_agree(tmp_path: Path, places: Settings) -> None:
    # Every file is whole, every row has a vector, and every slate looks right: but the ids name other vectors.
    def change(folder: Path) -> None:
        items = pq.read_table(folder / "items.parquet")
        pq.write_table(items.take([1, 0, *range(2, 40)]), folder / "items.parquet")

    sealed = make_sealed(tmp_path, places)
    assert failed(trial(sealed, 20, 1e-5)) == []
    checks = trial(resealed(sealed, tmp_path / "mixed", change), 20, 1e-5)
    assert failed(checks) == ["bundle_agrees"]
    # User 1 bought i01, which the bundle takes for row 0 of another group: two thirds of the six points are left.
    assert next(check.value for check in checks if check.name == "bundle_agrees") > 0.2


def test_an_unavailable_item_in_any_slate_is_refused(tmp_path: Path, places: Settings) -> None:
    def available(*gone: str) -> pa.Table:
        ids = [f"i{row:02d}" for row in range(40)]
        known = [False if i in gone else None if i == "i05" else True for i in ids]
        return pa.table({"item_id": ids, "available": known})

    sealed = make_sealed(tmp_path, places)
    # The shop has everything, or says nothing against it.
    checks = trial(with_items(sealed, tmp_path / "all", available()), 20, 1e-5)
    assert (failed(checks), checks[-1].name, checks[-1].value) == ([], "unavailable_shown", 0.0)
    # The best-seller i00 is gone, and the bundle does not know.
    checks = trial(with_items(sealed, tmp_path / "gone", available("i00")), 20, 1e-5)
    assert failed(checks) == ["unavailable_shown"]
    assert "such as 'i00'" in checks[-1].reason
    # A bundle that was made of that table does: its slates are whole without the item.
    def change(folder: Path) -> None:
        items = pq.read_table(folder / "items.parquet").append_column("available", available("i00")["available"])
        pq.write_table(items, folder / "items.parquet")

    knowing = resealed(with_items(sealed, tmp_path / "gone too", available("i00")), tmp_path / "knows", change)
    assert failed(trial(knowing, 20, 1e-5)) == []


def test_a_replay_shows_both_bundles_the_last_day(tmp_path: Path, places: Settings) -> None:
    """The champion knows the prior alone, the challenger groups too; both answer 12 requests of the last day.

    Each user had bought g and g + 4 of group g. The challenger shows the eight of the group that are left, g + 8 to
    g + 36, then the two lowest rows of other groups; the champion the ten lowest rows but g and g + 4, which are those
    of 0 to 11. In common: g + 8 and those two.
    """
    plain, _ = item_arrays()
    plain[:, :4] = 0
    champion = make_sealed(tmp_path, places, vectors=plain)
    digest = ReleaseStore(places.store).add_bundle(Path(champion.path))
    figures = model_figures(metrics={"recall@10": 0.2, "coverage@10": 0.5})
    sealed = make_sealed(tmp_path, places, metrics=figures, parent=1, champion=digest)
    quiet = gate(sealed, GateSettings(), places, tmp_path)
    assert json.loads((Path(quiet.path) / "verdict.json").read_text())["replay"] is None
    verdict = gate(sealed, GateSettings(replay_requests=100), places, tmp_path)
    assert [check.passed for check in verdict.checks] == [check.passed for check in quiet.checks]
    found = json.loads((Path(verdict.path) / "verdict.json").read_text())["replay"]
    assert found == {
        "requests": 12, "overlap": pytest.approx(0.3), "same_first": 0.0, "unchanged": 0.0,
        "by_overlap": [0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0],
        "new_items": 28,  # 12 to 39
        "gone_items": 5,  # 3 to 7: the challenger's are 8 to 39 and the lowest 0, 1, 2
    }
    page = (Path(verdict.path) / "verdict.html").read_text()
    assert "Replay of the last day" in page and "overlap@10 0.300" in page
