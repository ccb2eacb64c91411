"""What the embedded session store does beyond the contract."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from serving.sessions.contract import Event, Merge
from serving.sessions.sqlite import SqliteSessions

NOW = 1_800_000_000_000_000


def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    store = SqliteSessions(tmp_path / "sessions.db")
    store.add([Event("e1", "u", "i1", "view", NOW)], NOW)
    with ThreadPoolExecutor(1) as pool, store._transaction() as db:
        db.execute("DELETE FROM events")
        # From another thread, as the answers are: within the transaction, which is not committed yet.
        assert [event.event_id for event in pool.submit(store.history, "u").result(timeout=5)] == ["e1"]
    assert store.history("u") == []
    store.close()


def test_processes_that_share_a_file_know_at_once_what_each_has_committed(tmp_path: Path) -> None:
    ours, theirs = SqliteSessions(tmp_path / "sessions.db"), SqliteSessions(tmp_path / "sessions.db")

    def known(user: str) -> list[str]:
        return [event.event_id for event in ours.history(user)]

    assert known("customer") == [] and ours.availability().items == {}
    theirs.add([Event("e1", "customer", "i1", "view", NOW), Event("e2", "session", "i2", "view", NOW + 1)], NOW)
    assert known("customer") == ["e1"]
    theirs.identify(Merge("m", "session", "customer", NOW))
    assert known("customer") == known("session") == ["e1", "e2"]
    theirs.separate("m", NOW)
    assert known("customer") == ["e1"] and known("session") == ["e2"]
    theirs.set_availability({"i1": False})
    assert ours.availability().items == {"i1": False}
    theirs.forget("customer")
    assert known("customer") == [] and known("session") == ["e2"]
    for store in (ours, theirs):
        store.close()


def test_whether_somebody_is_merged_is_looked_up_and_not_searched_for(tmp_path: Path) -> None:
    store = SqliteSessions(tmp_path / "sessions.db")
    asked: list[str] = []
    store._readable.set_trace_callback(asked.append)
    assert store.history("u") == []
    plans = [detail for statement in asked if statement.startswith("SELECT")
             for *_, detail in store._db.execute(f"EXPLAIN QUERY PLAN {statement}")]
    assert len(asked) == 2 and any("merges_by_alias" in plan for plan in plans)
    assert not [plan for plan in plans if plan.startswith("SCAN ") and "CONSTANT" not in plan]
    store.close()
