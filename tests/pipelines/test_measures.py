"""Numbers for series: which ones, under which names, in which units."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipelines.artifacts import write_json
from pipelines.measures import measures

NOW = datetime(2026, 11, 2, 3, tzinfo=UTC)


def test_an_ingest_says_how_much_it_read_and_how_far_its_data_lag() -> None:
    found = measures({
        "path": "/nowhere", "key": "k", "digest": "d", "source": "/shop", "events": 5, "items": 3, "users": 2,
        "days": 2, "window": {"as_of": "2026-11-01T00:00:00Z", "start": None},
        "first_event": "2026-10-30T00:00:00Z", "last_event": "2026-10-31T22:30:00Z"}, NOW)
    # From half past ten to midnight are 5,400 seconds.
    assert found == {"events": 5, "items": 3, "users": 2, "days": 2, "data_behind_s": 5400}


def test_an_evaluation_gives_the_challengers_figures_and_seconds_a_model(tmp_path: Path) -> None:
    write_json(tmp_path / "timings.json", {"seconds": {"als": 2.5, "two_tower": 1}})
    found = measures({"path": str(tmp_path), "parent": None, "metrics": {"recall@10": 0.2, "ndcg@10": float("nan")},
                      "baselines": {"als": {"recall@10": 0.1}}}, NOW)
    assert found == {"recall_at_10": 0.2, "step.als_s": 2.5, "step.two_tower_s": 1}


def test_a_trainings_rounds_are_added_up_and_counts_are_no_seconds(tmp_path: Path) -> None:
    write_json(tmp_path / "timings.json", {"epoch_seconds": [1.5, 2.5], "search_seconds": 3, "index_s": 0.5,
                                           "words_asked": 100})
    found = measures({"path": str(tmp_path), "epochs": 2, "is_refit": True}, NOW)
    assert found == {"epochs": 2, "is_refit": 1, "step.epoch_s": 4, "step.search_s": 3, "step.index_s": 0.5}


def test_an_index_gives_the_recall_of_each_way_to_ask() -> None:
    assert measures({"recall": 0.98, "recall_k": 10, "search_recalls": {"words": 0.9}}, NOW) == {
        "recall": 0.98, "recall_k": 10, "recall.words": 0.9}


def test_a_verdict_counts_what_failed_and_a_release_says_how_old_its_data_are() -> None:
    checks = [{"passed": True}, {"passed": False}, {"passed": False}]
    assert measures({"accepted": False, "checks": checks}, NOW) == {"accepted": 0, "checks": 3, "checks_failed": 2}
    released = {"number": 7, "bundle": "b", "parent": 6, "as_of": "2026-11-02T00:00:00Z", "is_dry_run": False}
    assert measures(released, NOW) == {"number": 7, "parent": 6, "is_dry_run": 0, "data_age_s": 3 * 3600}
    assert measures(released | {"is_dry_run": True}, NOW) == {"is_dry_run": 1}


def test_a_published_day_counts_what_came_late() -> None:
    found = measures({"lake": "/lake", "day": "2026-03-03", "revision": 1, "events": 4,
                      "reopened": {"2026-03-01": 2, "2026-03-02": 1}}, NOW)
    assert found == {"revision": 1, "events": 4, "late_events": 3, "days_reopened": 2}


def test_a_refresh_gives_its_own_steps() -> None:
    assert measures({"status": "released", "items": 9, "seconds": {"embed": 1.5}}, NOW) == {
        "items": 9, "step.embed_s": 1.5}


VALUES = st.none() | st.booleans() | st.integers(-10**9, 10**9) | st.floats() | st.text(max_size=5)


@given(st.dictionaries(st.text(max_size=12), VALUES), st.dictionaries(st.text(max_size=12), VALUES),
       st.timedeltas(timedelta(0), timedelta(days=400)))
def test_whatever_a_document_holds_series_get_finite_numbers_under_names_that_they_take(
    own: dict[str, object], metrics: dict[str, object], later: timedelta
) -> None:
    strange = {"path", "checks", "last_event", "as_of", "reopened"} & set(own)
    found = measures({**{name: own[name] for name in own if name not in strange}, "metrics": metrics}, NOW + later)
    assert all(re.fullmatch(r"[a-zA-Z0-9_.-]*", name) and abs(value) < float("inf") for name, value in found.items())
