"""Who was erased: a log beside the release log, which outlives every bundle and names nobody.

    erased/key.json         32 random bytes, made once, that ids are digested with
    erased/00000042.json    an erasure: digests of all ids of one person, its time, who asked for it and why

An id stands there as its HMAC-SHA256, so that the log by itself does not say whose it is. An erasure covers what
happened up to its time: who comes back later under the same id is a new person. Records are written with
put-if-absent and numbered without a gap, so that who knows record n asks for n + 1, and lists nothing.
"""

import hmac
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Protocol

from pydantic import Field, model_validator

from pipelines.artifacts import canonical, digest_of
from pipelines.contracts import Document, UtcTime
from pipelines.errors import CorruptArtifact, StoreUnreachable
from pipelines.moments import EPOCH, microseconds
from serving.release import Digest, sealed, unsealed
from serving.storage import Storage

ERASED = "erased"
KEY = f"{ERASED}/key.json"
_RECORD = re.compile(rf"{ERASED}/(\d{{8}})\.json")
_READERS = 16  # records read at once
_PATIENCE_S = 5.0  # for a bucket that says "taken" before it shows by what


class History(Protocol):
    """A history of a bundle's panel, as `serving.panel.Shopper` is."""

    @property
    def items(self) -> tuple[str, ...]:
        """Item ids."""

    @property
    def types(self) -> tuple[str, ...]:
        """Event types."""

    @property
    def seconds_before(self) -> tuple[int, ...]:
        """How long before the asking."""


class DigestKey(Document):
    """What ids are digested with; of no use to anybody but who looks a known id up in the log."""

    hexadecimal: Digest


class Erasure(Document):
    """One record.

    Attributes:
        number: from 1, without a gap.
        users: digests of the person's ids; none where an earlier record has them and only histories are added.
        histories: digests of histories of the person that bundles carry unnamed, in their panels.
        erased_at: events up to this time are covered.
        actor, reason: who asked for it and why; not to name the person.
    """

    number: int = Field(ge=1, lt=10**8)
    users: tuple[Digest, ...] = ()
    histories: tuple[Digest, ...] = ()
    erased_at: UtcTime
    actor: str = Field(min_length=1)
    reason: str = Field(min_length=1)

    @model_validator(mode="after")
    def _covers_something(self) -> "Erasure":
        if not self.users and not self.histories:
            raise ValueError(f"erasure {self.number} covers nobody")
        return self


class Erased:
    """The erasures up to some record. It never changes, so that threads may share it."""

    def __init__(self, key: bytes | None = None, records: Sequence[Erasure] = ()) -> None:
        self._key, self.records = key, tuple(records)
        self._until: dict[str, int] = {}  # digest of an id -> microseconds since 1970
        for record in self.records:
            for user in record.users:
                self._until[user] = max(self._until.get(user, 0), microseconds(record.erased_at))
        self._histories = frozenset(history for record in self.records for history in record.histories)

    @property
    def number(self) -> int:
        """Of the last record; 0 where nobody was erased."""
        return self.records[-1].number if self.records else 0

    @property
    def digest(self) -> str:
        """SHA-256 of who is covered until when: part of the key of whatever leaves them out."""
        return digest_of(self._until)

    def until(self, user_id: str) -> int | None:
        """Microseconds since 1970 up to which a user is erased; None where never."""
        return self._until.get(self.digest_of_user(user_id)) if self._until else None

    def among(self, user_ids: Iterable[str]) -> dict[str, int]:
        """Those of `user_ids` that were erased, and until when."""
        found = ((user_id, self.until(user_id)) for user_id in (user_ids if self._until else ()))
        return {user_id: until for user_id, until in found if until is not None}

    def covers(self, user_id: str, time_us: int) -> bool:
        """Whether an erasure covers what a user did at this time."""
        until = self.until(user_id)
        return until is not None and time_us <= until

    def hides(self, history: History) -> bool:
        """Whether a history of a bundle's panel is of a person who was erased."""
        return bool(self._histories) and self.digest_of_history(history) in self._histories

    def of_one_person(self, user_ids: Iterable[str]) -> frozenset[str]:
        """Digests of all ids that were erased together with one of these, and of these themselves."""
        if self._key is None:
            return frozenset()
        own = {self.digest_of_user(user_id) for user_id in user_ids}
        return frozenset(own.union(*(record.users for record in self.records if own & set(record.users))))

    def standing(self, users: Iterable[str], histories: Iterable[str], newest_us: int) -> Erasure | None:
        """The last record, where these digests are all covered, users up to `newest_us`; None where one is not."""
        users = list(users)
        if all(self._until.get(user, -1) >= newest_us for user in users) and self._histories.issuperset(histories):
            return next((one for one in reversed(self.records) if set(users) & set(one.users)), None)
        return None

    def lacks(self, users: Iterable[str], newest_us: int) -> bool:
        """Whether one of these digests of users is not covered up to `newest_us`."""
        return any(self._until.get(user, -1) < newest_us for user in users)

    def digest_of_user(self, user_id: str) -> str:
        """How the log calls a user."""
        return self._digest(b"user\0" + user_id.encode("utf-8", "surrogatepass"))

    def digest_of_history(self, history: History) -> str:
        """How the log calls a history."""
        return self._digest(b"history\0" + canonical([history.items, history.types, history.seconds_before]))

    def _digest(self, message: bytes) -> str:
        if self._key is None:
            raise AssertionError("nothing can be digested before the store has a key")
        return hmac.digest(self._key, message, "sha256").hex()


NOBODY = Erased()


class ErasureLog:
    """The log in one store. Reading never creates anything there."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def read(self) -> Erased:
        """All erasures.

        Raises:
            CorruptArtifact: a record or the key is torn, changed or missing.
            StoreUnreachable: the store cannot be read.
        """
        numbers = sorted(int(found[1]) for entry in self._storage.entries(ERASED)
                         if (found := _RECORD.fullmatch(entry.key)))
        if not numbers:
            return Erased(self._read_key(), ())
        if numbers[-1] != len(numbers):
            missing = min(set(range(1, numbers[-1])) - set(numbers))
            raise CorruptArtifact(f"{self._storage.root}/{_key(missing)} is missing, so that it is unknown who was "
                                  "erased; restore it from a backup of the store")
        with ThreadPoolExecutor(_READERS) as pool:
            records = list(pool.map(self._get, numbers))
        return Erased(self._required_key(), records)

    def newer(self, known: Erased) -> Erased:
        """`known` and what came after it; `known` itself, after one question to the store, where nothing did."""
        found: list[Erasure] = []
        while True:
            try:
                found.append(self._get(known.number + len(found) + 1))
            except FileNotFoundError:
                return Erased(self._required_key(), (*known.records, *found)) if found else known

    def erase(
        self, user_ids: Sequence[str], *, at: datetime, actor: str, reason: str, newest: datetime | None = None,
        histories: Sequence[History] = (),
    ) -> Erasure:
        """Erase a person up to now: from the moment of return every reader of the log knows it.

        Done again it is done once: while nothing of the person is newer than the erasure, that one stands.

        Args:
            user_ids: all ids of the person.
            at: now.
            actor, reason: who asked for it and why.
            newest: time of the newest event found of the person, where any was found.
            histories: of bundles' panels that are the person's.

        Raises:
            StoreUnreachable: the store cannot be written; nothing is erased for certain, do it again.
        """
        key = self._made_key()
        newest_us = microseconds(min(newest or EPOCH, at))
        while True:
            known = self.read()
            digests = Erased(key)
            users = sorted({digests.digest_of_user(user_id) for user_id in user_ids})
            shown = sorted({digests.digest_of_history(history) for history in histories})
            if (record := known.standing(users, shown, newest_us)) is not None:
                # Its writer may have died between writing and syncing.
                self._storage.settle(_key(known.number))
                return record
            record = Erasure(number=known.number + 1, users=tuple(users) if known.lacks(users, newest_us) else (),
                             histories=tuple(shown), erased_at=at, actor=actor, reason=reason)
            if self._storage.create(_key(record.number), sealed("erasure", record)):
                return record
            self._wait_for(record.number)

    def _get(self, number: int) -> Erasure:
        key = _key(number)
        record = unsealed(Erasure, "erasure", self._storage.read(key), f"{self._storage.root}/{key}")
        if record.number != number:
            raise CorruptArtifact(f"{self._storage.root}/{key} says that it is erasure {record.number}; restore it "
                                  "from a backup of the store")
        return record

    def _read_key(self) -> bytes | None:
        try:
            content = self._storage.read(KEY)
        except FileNotFoundError:
            return None
        return bytes.fromhex(unsealed(DigestKey, "key", content, f"{self._storage.root}/{KEY}").hexadecimal)

    def _required_key(self) -> bytes:
        key = self._read_key()
        if key is None:
            raise CorruptArtifact(f"{self._storage.root}/{KEY} is missing, without which nobody can be recognised as "
                                  "erased; restore it from a backup of the store")
        return key

    def _made_key(self) -> bytes:
        """The store's key, made where there is neither a key nor a record."""
        if self._read_key() is None and self.read().number == 0:
            # Whoever comes second takes over what the first one made.
            self._storage.create(KEY, sealed("key", DigestKey(hexadecimal=secrets.token_hex(32))))
        return self._required_key()

    def _wait_for(self, number: int) -> None:
        """Until a record that is taken can be read; a bucket may say so while the other write is on its way."""
        ends = time.monotonic() + _PATIENCE_S
        while time.monotonic() < ends:
            try:
                self._get(number)
            except FileNotFoundError:
                time.sleep(0.1)
            else:
                return
        raise StoreUnreachable(f"{self._storage.root}/{_key(number)} is taken and not to be seen after "
                               f"{_PATIENCE_S:.0f} s: another write of it was called off; run the same again")


def _key(number: int) -> str:
    return f"{ERASED}/{number:08d}.json"
