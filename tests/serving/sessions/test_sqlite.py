"""What the embedded session store does beyond the contract."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from serving.sessions.contract import Event
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
