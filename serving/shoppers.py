"""What the service keeps and recalls of shoppers and of availability, also while the session store is down."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from threading import Lock
from typing import Protocol

from pydantic import ValidationError

from pipelines.moments import microseconds, moment_of
from serving import answers, questions
from serving.discover.dialogue import Conversation
from serving.erased import NOBODY, Erased
from serving.erased_watch import Erasures
from serving.experiments.exposure import Exposure
from serving.landing import LandingUnavailable
from serving.sessions.contract import Availability, Event, Merge, SessionLimits, SessionStore, SessionsUnavailable
from serving.view import ReleaseView

NO_SESSIONS = "the session store does not answer: this answer is made from the request's own events"
NO_ERASURES = "it is not known yet who was erased: this answer is made without any stored history"
NO_CONVERSATION = "the session store does not answer: this text is understood by itself, and not remembered"
NO_AVAILABILITY = "the session store does not answer: what was sold out at its last answer is left out"

_FOLLOW_UP_US = SessionLimits().follow_up_minutes * 60_000_000


class Landing(Protocol):
    """Where events are laid down for the next ingest; each call is durable when it returns."""

    def add_events(self, events: Sequence[Event]) -> None:
        """Append events."""

    def add_merge(self, merge: Merge) -> None:
        """Append a merge, or that it was undone."""

    def add_exposure(self, exposure: Exposure) -> None:
        """Append who was shown what by an experiment."""


class Shoppers:
    """The session store and the landing folder behind one door, which lets nothing of an erased person through."""

    def __init__(
        self, sessions: SessionStore, landing: Landing | None, availability_seconds: float,
        erasures: Erasures | None = None,
    ) -> None:
        """Without `erasures` nobody was ever erased, and forgetting ends with the session store."""
        self.sessions, self.landing, self.availability_seconds = sessions, landing, availability_seconds
        self._erasures = erasures
        self._availability = Availability(-1, {})
        self._asked_at = float("-inf")
        self._lock = Lock()

    def erased(self) -> Erased | None:
        """Who was erased; None as long as the store could not be asked."""
        return self._erasures.known() if self._erasures is not None else NOBODY

    @property
    def erasure_trouble(self) -> str | None:
        """What keeps this process from following the erasures at present, or none."""
        return self._erasures.trouble if self._erasures is not None else None

    def history(self, user_id: str | None, notices: list[str]) -> list[Event]:
        """What is stored of a user and not erased; nothing, with a notice, while the store does not answer."""
        if user_id is None:
            return []
        erased = self.erased()
        if erased is None:
            notices.append(NO_ERASURES)
            return []
        try:
            stored = self.sessions.history(user_id)
        except SessionsUnavailable:
            notices.append(NO_SESSIONS)
            return []
        until = erased.among({event.user_id for event in stored})
        return [event for event in stored if event.time_us > until.get(event.user_id, -1)] if until else stored

    def recent(self, shopper: questions.Shopper) -> tuple[questions.Event, ...]:
        """The events that a question brings along, without those that were erased; one without a time is of now."""
        erased = self.erased() or NOBODY
        until = erased.until(shopper.user_id) if shopper.user_id is not None else None
        if until is None:
            return shopper.events
        return tuple(e for e in shopper.events if e.time is None or microseconds(e.time) > until)

    def availability(self, notices: list[str]) -> Availability:
        """What was last said of availability, asked for again where that is too long ago."""
        if time.monotonic() - self._asked_at < self.availability_seconds:
            return self._availability
        with self._lock:
            try:
                changed = self.sessions.availability(self._availability.version)
                self._availability = changed or self._availability
                self._asked_at = time.monotonic()
            except SessionsUnavailable:
                notices.append(NO_AVAILABILITY)
            return self._availability

    def add_events(self, events: questions.NewEvents) -> answers.Accepted:
        """Keep events; those that were kept before change nothing.

        They are laid down for the next ingest first: a delivery that fails halfway is delivered again, and ingest
        knows repeated ids. What was erased does not come back by being delivered late.

        Raises:
            SessionsUnavailable: the store does not answer; deliver them again.
        """
        now_us = time.time_ns() // 1000
        brought = [Event(e.event_id, e.user_id, e.item_id, e.event_type,
                         now_us if e.time is None else microseconds(e.time)) for e in events.events]
        erased = self.erased() or NOBODY
        until = erased.among({event.user_id for event in brought})
        kept = [event for event in brought if event.time_us > until.get(event.user_id, -1)]
        if self.landing is not None and kept:
            self.landing.add_events(kept)
        accepted = sum(self.sessions.add(kept, now_us))
        return answers.Accepted(accepted=accepted, repeated=len(brought) - accepted)

    def identify(self, merge: questions.Identify) -> answers.Merged:
        """Make two ids one customer.

        Raises:
            IdentityConflict: `alias` is somebody else already, or the merge would go round in a circle.
            SessionsUnavailable: the store does not answer.
        """
        now_us = time.time_ns() // 1000
        found = Merge(merge.merge_id, merge.alias, merge.user_id,
                      now_us if merge.time is None else microseconds(merge.time))
        erased = self.erased() or NOBODY
        if any(erased.covers(one, found.time_us) for one in (found.alias, found.user_id)):
            return answers.Merged(merge_id=merge.merge_id, is_new=False)  # delivered late
        is_new = self.sessions.identify(found)
        if self.landing is not None:
            self.landing.add_merge(found)
        return answers.Merged(merge_id=merge.merge_id, is_new=is_new)

    def separate(self, merge_id: str) -> answers.Merged:
        """Undo a merge; `is_new` is false where nothing was left to undo.

        Raises:
            SessionsUnavailable: the store does not answer.
        """
        now_us = time.time_ns() // 1000
        is_new = self.sessions.separate(merge_id, now_us)
        if self.landing is not None and is_new:
            self.landing.add_merge(Merge(merge_id, "", "", now_us, now_us))
        return answers.Merged(merge_id=merge_id, is_new=is_new)

    def forget(self, user_id: str, actor: str, reason: str) -> answers.Forgotten:
        """Erase a user under all ids of the profile: from now on nobody knows them, in any process of the shop.

        What lies in files follows: the landing folder's by whoever serves, the others' by `vitrine erase-user`.

        Args:
            user_id: any id of the profile.
            actor, reason: who asked for it and why; stand in the record of the erasure.

        Raises:
            SessionsUnavailable, StoreUnreachable: nothing is erased for certain, ask again.
        """
        number = None
        if self._erasures is not None:
            newest_us = max((event.time_us for event in self.sessions.history(user_id)), default=None)
            number = self._erasures.erase(
                self.sessions.profile(user_id), at=datetime.now(UTC), actor=actor, reason=reason,
                newest=None if newest_us is None else moment_of(newest_us)).number
        return answers.Forgotten(deleted_events=self.sessions.forget(user_id), erasure=number)

    def conversation(self, user_id: str | None, notices: list[str]) -> Conversation:
        """What was asked and shown before; nothing, with a notice, where that is not to be known."""
        erased, now_us = self.erased(), time.time_ns() // 1000
        # A note has no time: while it may be of before an erasure, it is.
        if user_id is None or erased is None or erased.covers(user_id, now_us - _FOLLOW_UP_US):
            return Conversation()
        try:
            note = self.sessions.note(user_id, now_us)
            return Conversation() if note is None else Conversation.model_validate(note)
        except SessionsUnavailable:
            notices.append(NO_CONVERSATION)
        except ValidationError:
            notices.append("what was asked before was kept by another version: it counts no more")
        return Conversation()

    def remember(self, user_id: str | None, conversation: Conversation, notices: list[str]) -> bool:
        """Keep a conversation for a follow-up; whether it is kept."""
        if user_id is None:
            return False
        try:
            self.sessions.take_note(user_id, conversation.model_dump(mode="json"), time.time_ns() // 1000)
        except SessionsUnavailable:
            if NO_CONVERSATION not in notices:
                notices.append(NO_CONVERSATION)
            return False
        return True

    def expose(self, exposure: Exposure, notices: list[str]) -> None:
        """Lay an exposure down; one that cannot be written costs the experiment a user and nobody an answer."""
        if self.landing is None:
            return
        try:
            self.landing.add_exposure(exposure)
        except LandingUnavailable:
            notices.append("the landing folder cannot be written: this answer is missing from the experiment")

    def set_availability(self, items: Mapping[str, bool], view: ReleaseView | None) -> answers.AvailabilityChanged:
        """Say what can be bought from now on; effective with the next answer of this process.

        Raises:
            SessionsUnavailable: the store does not answer.
        """
        version = self.sessions.set_availability(items)
        self._asked_at = float("-inf")
        unknown = tuple(item for item in items if view is not None and view.row(item) is None)
        return answers.AvailabilityChanged(version=version, changed=len(items), unknown=unknown[:20])
