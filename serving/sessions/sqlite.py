"""The embedded session store: one SQLite file in write-ahead mode, which survives a restart and a kill.

What a commit has acknowledged is there after the process dies. A power cut may take the last moments with it; the
landing folder, where events are synced, has them.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any

from serving.sessions.contract import (
    Availability,
    Event,
    IdentityConflict,
    Merge,
    SessionLimits,
    SessionsUnavailable,
)

FORMAT = 1
_event = partial(tuple.__new__, Event)  # as Event._make, with nothing of Python in between: 50 a question
_TABLES = """
CREATE TABLE IF NOT EXISTS events (
    user_id TEXT NOT NULL, time_us INTEGER NOT NULL, event_id TEXT NOT NULL, item_id TEXT NOT NULL,
    event_type TEXT NOT NULL, PRIMARY KEY (user_id, time_us, event_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (event_id TEXT PRIMARY KEY, time_us INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_by_time ON seen (time_us);
CREATE TABLE IF NOT EXISTS merges (
    merge_id TEXT PRIMARY KEY, alias TEXT NOT NULL, user_id TEXT NOT NULL, time_us INTEGER NOT NULL,
    undone_us INTEGER) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS merges_by_alias ON merges (alias) WHERE undone_us IS NULL;
CREATE INDEX IF NOT EXISTS merges_by_user ON merges (user_id) WHERE undone_us IS NULL;
CREATE TABLE IF NOT EXISTS availability (item_id TEXT PRIMARY KEY, is_available INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (
    session_id TEXT PRIMARY KEY, note TEXT NOT NULL, expires_us INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


class SqliteSessions:
    """See `SessionStore`. Two connections, each used by one thread at a time: a read takes some 20 microseconds, and in
    write-ahead mode it waits for no writer."""

    is_embedded = True

    def __init__(self, path: Path, limits: SessionLimits | None = None) -> None:
        """Open or create the file.

        Raises:
            SessionsUnavailable: it cannot be opened, is no SQLite file, or another version wrote it.
        """
        self.path, self.limits = Path(path), limits or SessionLimits()
        self._lock, self._asking = RLock(), RLock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=2)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten too
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, FORMAT):
                raise SessionsUnavailable(f"{path} was written in format {version}, this version reads {FORMAT}; "
                                          "give another file, or the version that wrote it")
            self._db.executescript(_TABLES)
            self._db.execute(f"PRAGMA user_version = {FORMAT}")
            self._readable = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=2)
            self._readable.execute("PRAGMA query_only = ON")
        except (OSError, sqlite3.Error) as error:
            raise SessionsUnavailable(f"the session store {path} cannot be opened ({error}); check the path and its "
                                      "rights, or move a broken file away") from error

    def add(self, events: Sequence[Event], now_us: int) -> list[bool]:
        """See `SessionStore.add`."""
        oldest = now_us - self.limits.retention_us
        with self._transaction() as db:
            is_new = [
                e.time_us >= oldest and db.execute(
                    "INSERT OR IGNORE INTO seen VALUES (?, ?)", (e.event_id, e.time_us)).rowcount == 1
                for e in events
            ]
            kept = [e for e, new in zip(events, is_new, strict=True) if new]
            db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)",
                           [(e.user_id, e.time_us, e.event_id, e.item_id, e.event_type) for e in kept])
            for user_id in {e.user_id for e in kept}:
                db.execute(
                    "DELETE FROM events WHERE user_id = ?1 AND (time_us, event_id) < (SELECT time_us, event_id FROM "
                    "events WHERE user_id = ?1 ORDER BY time_us DESC, event_id DESC LIMIT 1 OFFSET ?2)",
                    (user_id, self.limits.events - 1))
        return is_new

    def history(self, user_id: str) -> list[Event]:
        """See `SessionStore.history`."""
        with self._reading() as db:
            ids = self._profile(db, user_id)
            found = [event for one in ids for event in map(_event, db.execute(
                "SELECT event_id, user_id, item_id, event_type, time_us FROM events WHERE user_id = ? "
                "ORDER BY time_us, event_id", (one,)))]
        return found if len(ids) == 1 else sorted(found, key=lambda e: (e.time_us, e.event_id))

    def identify(self, merge: Merge) -> bool:
        """See `SessionStore.identify`."""
        with self._transaction() as db:
            if db.execute("SELECT 1 FROM merges WHERE merge_id = ?", (merge.merge_id,)).fetchone():
                return False
            if merge.alias in self._upwards(db, merge.user_id):
                raise IdentityConflict(f"{merge.user_id!r} is merged into {merge.alias!r}: undo that merge first")
            before = self._upwards(db, merge.alias)[1:]
            if before:
                raise IdentityConflict(f"{merge.alias!r} is merged into {before[0]!r} already: undo that merge first")
            db.execute("INSERT INTO merges VALUES (?, ?, ?, ?, NULL)",
                       (merge.merge_id, merge.alias, merge.user_id, merge.time_us))
        return True

    def separate(self, merge_id: str, time_us: int) -> bool:
        """See `SessionStore.separate`."""
        with self._transaction() as db:
            return db.execute("UPDATE merges SET undone_us = ? WHERE merge_id = ? AND undone_us IS NULL",
                              (time_us, merge_id)).rowcount == 1

    def profile(self, user_id: str) -> list[str]:
        """See `SessionStore.profile`."""
        with self._reading() as db:
            return self._profile(db, user_id)

    def forget(self, user_id: str) -> int:
        """See `SessionStore.forget`."""
        with self._transaction() as db:
            deleted = 0
            for one in self._profile(db, user_id):
                deleted += db.execute("DELETE FROM events WHERE user_id = ?", (one,)).rowcount
                db.execute("DELETE FROM merges WHERE alias = ?1 OR user_id = ?1", (one,))
                db.execute("DELETE FROM notes WHERE session_id = ?", (one,))
        return deleted

    def scrub(self) -> bool:
        """See `SessionStore.scrub`. What once moved between pages leaves bytes behind that no deletion overwrites."""
        with self._writing() as db:
            db.execute("VACUUM")
            is_busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not is_busy

    def set_availability(self, items: Mapping[str, bool]) -> int:
        """See `SessionStore.set_availability`."""
        with self._transaction() as db:
            db.executemany("INSERT OR REPLACE INTO availability VALUES (?, ?)",
                           [(item, int(available)) for item, available in items.items()])
            db.execute("INSERT INTO counters VALUES ('availability', 1) "
                       "ON CONFLICT (name) DO UPDATE SET value = value + 1")
            return self._version(db)

    def availability(self, known_version: int = -1) -> Availability | None:
        """See `SessionStore.availability`."""
        with self._reading() as db:
            version = self._version(db)
            if version == known_version:
                return None
            rows = db.execute("SELECT item_id, is_available FROM availability")
            return Availability(version, {item: bool(available) for item, available in rows})

    def take_note(self, session_id: str, note: Mapping[str, Any], now_us: int) -> None:
        """See `SessionStore.take_note`."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)",
                       (session_id, json.dumps(note), now_us + self.limits.follow_up_minutes * 60_000_000))

    def note(self, session_id: str, now_us: int) -> dict[str, Any] | None:
        """See `SessionStore.note`."""
        with self._reading() as db:
            row = db.execute("SELECT note FROM notes WHERE session_id = ? AND expires_us > ?",
                             (session_id, now_us)).fetchone()
        return json.loads(row[0]) if row else None

    def prune(self, now_us: int) -> int:
        """See `SessionStore.prune`."""
        oldest = now_us - self.limits.retention_us
        with self._transaction() as db:
            deleted = db.execute("DELETE FROM events WHERE time_us < ?", (oldest,)).rowcount
            db.execute("DELETE FROM seen WHERE time_us < ?", (oldest,))
            db.execute("DELETE FROM notes WHERE expires_us <= ?", (now_us,))
        return deleted

    def ping(self) -> None:
        """See `SessionStore.ping`."""
        with self._reading() as db:
            db.execute("SELECT 1 FROM counters LIMIT 1").fetchone()

    def close(self) -> None:
        """See `SessionStore.close`."""
        with self._lock, self._asking:
            self._db.close()
            self._readable.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._asking:
            try:
                yield self._readable
            except sqlite3.Error as error:
                raise self._unavailable(error) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._db
            except sqlite3.Error as error:
                raise self._unavailable(error) from error

    def _unavailable(self, error: sqlite3.Error) -> SessionsUnavailable:
        return SessionsUnavailable(f"the session store {self.path} does not answer: {error}")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @staticmethod
    def _upwards(db: sqlite3.Connection, user_id: str) -> list[str]:
        """`user_id` and what it is merged into, step by step."""
        chain = [user_id]
        while row := db.execute("SELECT user_id FROM merges WHERE alias = ? AND undone_us IS NULL",
                                (chain[-1],)).fetchone():
            chain.append(row[0])
        return chain

    @classmethod
    def _profile(cls, db: sqlite3.Connection, user_id: str) -> list[str]:
        # Nearly all are merged with nobody, which one question tells.
        is_merged, = db.execute("SELECT EXISTS (SELECT 1 FROM merges WHERE alias = ?1 AND undone_us IS NULL) "
                                "OR EXISTS (SELECT 1 FROM merges WHERE user_id = ?1 AND undone_us IS NULL)",
                                (user_id,)).fetchone()
        if not is_merged:
            return [user_id]
        found = [cls._upwards(db, user_id)[-1]]
        for one in found:  # grows while it is gone through
            found += [row[0] for row in db.execute(
                "SELECT alias FROM merges WHERE user_id = ? AND undone_us IS NULL", (one,))]
        return [user_id, *sorted(one for one in found if one != user_id)]

    @staticmethod
    def _version(db: sqlite3.Connection) -> int:
        row = db.execute("SELECT value FROM counters WHERE name = 'availability'").fetchone()
        return int(row[0]) if row else 0
