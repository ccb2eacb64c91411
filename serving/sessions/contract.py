"""The contract of a session store; SQLite and Redis keep it, and one suite of tests holds both to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from pipelines.contracts import Document
from pipelines.errors import VitrineError

DAY_US = 86_400_000_000


class SessionsUnavailable(VitrineError):
    """The session store does not answer. What serves goes on with the events that a request brings along."""


class IdentityConflict(VitrineError):
    """An id is merged into another customer already, or a merge would go round in a circle."""

    exit_status = 2
    is_retryable = False


class SessionLimits(Document):
    """What is kept of a shopper.

    Attributes:
        events: the newest so many of each user id.
        days: nothing older than so many days, and an event's id is known for as long.
        follow_up_minutes: how long a conversation can be taken up again.
    """

    events: int = 500
    days: int = 365
    follow_up_minutes: int = 120

    @property
    def retention_us(self) -> int:
        """`days` in microseconds."""
        return self.days * DAY_US


class Event(NamedTuple):
    """One thing that a shopper did; `time_us` is in microseconds since 1970, UTC.

    A tuple, for a history of them is read with every answer.
    """

    event_id: str
    user_id: str
    item_id: str
    event_type: str
    time_us: int


@dataclass(frozen=True, slots=True)
class Merge:
    """`alias` was found to be `user_id` at `time_us`; until `undone_us`, where that is set."""

    merge_id: str
    alias: str
    user_id: str
    time_us: int
    undone_us: int | None = None


@dataclass(frozen=True, slots=True)
class Availability:
    """What was said of items since their release was made; `version` grows with every change."""

    version: int
    items: Mapping[str, bool]  # item id -> can it be bought


class SessionStore(Protocol):
    """A store of events by user id, safe for use by many threads.

    A profile is all user ids that are merged into one another, directly or through others. Every method raises
    SessionsUnavailable where the store does not answer.
    """

    @property
    def is_embedded(self) -> bool:
        """Whether it is read from this machine's memory and disk: no question to it waits for a network or a writer."""

    def add(self, events: Sequence[Event], now_us: int) -> list[bool]:
        """Keep events; which of them are new. One whose id was added before changes nothing, whatever it says.

        Events older than the retention are not kept.
        """

    def history(self, user_id: str) -> list[Event]:
        """Events of the user's profile by (time, event id), the newest `SessionLimits.events` of each user id."""

    def identify(self, merge: Merge) -> bool:
        """Merge two ids from now on; False where this merge id was done before.

        Raises:
            IdentityConflict: `alias` is merged into another id already, or `user_id` is merged into `alias`.
        """

    def separate(self, merge_id: str, time_us: int) -> bool:
        """Undo a merge; False where there is none of this id, or none that is still in force."""

    def profile(self, user_id: str) -> list[str]:
        """All ids of the user's profile, `user_id` first, the others in order."""

    def forget(self, user_id: str) -> int:
        """Delete events and merges of the whole profile; how many events that were.

        An id of a deleted event stays known, so that a repeated delivery does not bring the event back.
        """

    def scrub(self) -> bool:
        """Let what was deleted go from the store's files too; False where it is left to the store when that happens."""

    def set_availability(self, items: Mapping[str, bool]) -> int:
        """Say which items can be bought; the new version."""

    def availability(self, known_version: int = -1) -> Availability | None:
        """What was said of items; None where that is still `known_version`."""

    def take_note(self, session_id: str, note: Mapping[str, Any], now_us: int) -> None:
        """Keep a small JSON object for a follow-up in the same session."""

    def note(self, session_id: str, now_us: int) -> dict[str, Any] | None:
        """What `take_note` kept last, unless it is too old."""

    def prune(self, now_us: int) -> int:
        """Delete what is older than the retention; how many events that were."""

    def ping(self) -> None:
        """Nothing, where the store answers."""

    def close(self) -> None:
        """Let go of files and connections."""
