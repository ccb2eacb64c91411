"""Sessions in Redis, for several processes. Run it with `appendonly yes`: without, a kill loses the last second.

Keys, all below a prefix of the shop's own:

    h:USER      sorted set by time of the user's events, JSON [event id, item id, event type, time]
    e:EVENT     there as long as the event's id is known
    merges      hash merge id -> JSON of the merge
    up          hash alias -> user id of the merges in force
    down:USER   set of the aliases of a user
    m:USER      set of the ids of all merges, undone ones too, that name a user id
    available, available_version
    n:SESSION   JSON of a follow-up
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from serving.sessions.contract import (
    Availability,
    Event,
    IdentityConflict,
    Merge,
    SessionLimits,
    SessionsUnavailable,
)

TIMEOUT_S = 0.25  # for a whole call: a shopper does not wait for a history
REST_S = 1.0  # after a failure nothing is asked for so long, so that a Redis that is down costs no timeouts
_TRIES = 20  # of a merge that others interfere with

# One step for Redis: an id is known exactly when its event was kept.
_ADD = """
local new = {}
for i = 1, #ARGV - 2, 3 do
    local added = 0
    if redis.call('SET', KEYS[1] .. 'e:' .. ARGV[i], '1', 'NX', 'PX', ARGV[#ARGV - 1]) then
        local history = KEYS[1] .. 'h:' .. ARGV[i + 1]
        local event = cjson.decode(ARGV[i + 2])
        redis.call('ZADD', history, string.format('%.0f', event[4]), ARGV[i + 2])
        redis.call('ZREMRANGEBYRANK', history, 0, -1 - ARGV[#ARGV])
        redis.call('PEXPIRE', history, ARGV[#ARGV - 1])
        added = 1
    end
    new[#new + 1] = added
end
return new
"""


class RedisSessions:
    """See `SessionStore`. One Redis, or one behind Sentinel; its keys do not spread over a cluster."""

    is_embedded = False

    def __init__(
        self, url: str, limits: SessionLimits | None = None, prefix: str = "vitrine",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is asked yet: Redis may come later.

        Raises:
            SettingsError: the URL cannot be read.
        """
        self.limits, self._prefix, self._clock = limits or SessionLimits(), f"{prefix}:", clock
        self._redis = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, decode_responses=True,
            retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0), max_connections=64)
        self._add = self._redis.register_script(_ADD)
        self._rests_until = float("-inf")
        self._is_closed = False

    def add(self, events: Sequence[Event], now_us: int) -> list[bool]:
        """See `SessionStore.add`."""
        oldest = now_us - self.limits.retention_us
        kept = [e for e in events if e.time_us >= oldest]
        arguments: list[str | int] = []
        for e in kept:
            arguments += [e.event_id, e.user_id, _packed(e)]
        with self._answering():
            new = iter(self._add([self._prefix], [*arguments, self.limits.retention_us // 1000, self.limits.events]))
        return [e.time_us >= oldest and next(new) == 1 for e in events]

    def history(self, user_id: str) -> list[Event]:
        """See `SessionStore.history`."""
        with self._answering() as db:
            # Most are merged with nobody: one exchange answers them.
            up, down, own = (db.pipeline(transaction=False).hget(self._key("up"), user_id)
                             .smembers(self._key("down:", user_id))
                             .zrange(self._key("h:", user_id), 0, -1).execute())
            if not up and not down:
                return _sorted([_unpacked(user_id, text) for text in own])
            ids = self._profile(db, user_id)
            pipe = db.pipeline(transaction=False)
            for one in ids:
                pipe.zrange(self._key("h:", one), 0, -1)
            found = [_unpacked(one, text) for one, texts in zip(ids, pipe.execute(), strict=True) for text in texts]
        return _sorted(found)

    def identify(self, merge: Merge) -> bool:
        """See `SessionStore.identify`."""
        with self._answering():
            return bool(self._exchange(lambda pipe: self._merge(pipe, merge)))

    def separate(self, merge_id: str, time_us: int) -> bool:
        """See `SessionStore.separate`."""

        def undo(pipe: Any) -> bool:
            text = pipe.hget(self._key("merges"), merge_id)
            merge = json.loads(text) if text else None
            pipe.multi()
            if merge is None or merge["undone_us"] is not None:
                return False
            pipe.hset(self._key("merges"), merge_id, json.dumps(merge | {"undone_us": time_us}))
            pipe.hdel(self._key("up"), merge["alias"])
            pipe.srem(self._key("down:", merge["user_id"]), merge["alias"])
            return True

        with self._answering():
            return bool(self._exchange(undo))

    def profile(self, user_id: str) -> list[str]:
        """See `SessionStore.profile`."""
        with self._answering() as db:
            return self._profile(db, user_id)

    def forget(self, user_id: str) -> int:
        """See `SessionStore.forget`."""

        def delete(pipe: Any) -> int:
            ids = self._profile(pipe, user_id)
            events = sum(pipe.zcard(self._key("h:", one)) for one in ids)
            merges = sorted({merge for one in ids for merge in pipe.smembers(self._key("m:", one))})
            pipe.multi()
            if merges:
                pipe.hdel(self._key("merges"), *merges)
            pipe.hdel(self._key("up"), *ids)
            pipe.delete(*(self._key(kind, one) for kind in ("h:", "down:", "n:", "m:") for one in ids))
            return int(events)

        with self._answering():
            return int(self._exchange(delete))

    def scrub(self) -> bool:
        """See `SessionStore.scrub`. Redis rewrites its append-only file when it likes, and some do not let us ask."""
        return False

    def set_availability(self, items: Mapping[str, bool]) -> int:
        """See `SessionStore.set_availability`."""
        with self._answering() as db:
            pipe = db.pipeline(transaction=True)
            pipe.hset(self._key("available"), mapping={item: int(can) for item, can in items.items()})
            pipe.incr(self._key("available_version"))
            return int(pipe.execute()[1])

    def availability(self, known_version: int = -1) -> Availability | None:
        """See `SessionStore.availability`."""
        with self._answering() as db:
            if int(db.get(self._key("available_version")) or 0) == known_version:
                return None
            version, items = (db.pipeline(transaction=True).get(self._key("available_version"))
                              .hgetall(self._key("available")).execute())
        return Availability(int(version or 0), {item: can == "1" for item, can in items.items()})

    def take_note(self, session_id: str, note: Mapping[str, Any], now_us: int) -> None:
        """See `SessionStore.take_note`."""
        expires_us = now_us + self.limits.follow_up_minutes * 60_000_000
        with self._answering() as db:
            db.set(self._key("n:", session_id), json.dumps([expires_us, note]), ex=60 * self.limits.follow_up_minutes)

    def note(self, session_id: str, now_us: int) -> dict[str, Any] | None:
        """See `SessionStore.note`."""
        with self._answering() as db:
            text = db.get(self._key("n:", session_id))
        expires_us, note = json.loads(text) if text else (0, None)
        return note if expires_us > now_us else None

    def prune(self, now_us: int) -> int:
        """See `SessionStore.prune`. Redis drops whole histories by itself; this goes through what is left of them."""
        oldest, deleted = now_us - self.limits.retention_us, 0
        with self._answering() as db:
            for key in db.scan_iter(self._key("h:*"), count=1000):
                deleted += int(db.zremrangebyscore(key, "-inf", f"({oldest}"))
        return deleted

    def ping(self) -> None:
        """See `SessionStore.ping`."""
        with self._answering() as db:
            db.ping()

    def close(self) -> None:
        """See `SessionStore.close`."""
        self._is_closed = True
        self._redis.close()

    @contextmanager
    def _answering(self) -> Iterator[Any]:
        """The client, and Redis's faults as the contract's.

        The URL is in no message: it may hold a password.
        """
        if self._is_closed:
            raise SessionsUnavailable("the session store was closed")
        if self._clock() < self._rests_until:
            raise SessionsUnavailable("the session store in Redis did not answer a moment ago")
        try:
            yield self._redis
        except (redis.RedisError, OSError) as error:
            self._rests_until = self._clock() + REST_S
            raise SessionsUnavailable(f"the session store in Redis does not answer: {type(error).__name__}; start "
                                      "Redis, or check VITRINE_SESSIONS") from error

    def _exchange(self, change: Callable[[Any], Any]) -> Any:
        """`change` as one step: it reads, calls `multi` and queues; again where others changed merges meanwhile."""
        for _ in range(_TRIES):
            with self._redis.pipeline(transaction=True) as pipe:
                try:
                    pipe.watch(self._key("merges"))  # type: ignore[no-untyped-call]
                    result = change(pipe)
                    pipe.execute()
                    return result
                except redis.WatchError:
                    continue
        raise SessionsUnavailable(f"merges changed under each of {_TRIES} tries: ask again")

    def _merge(self, pipe: Any, merge: Merge) -> bool:
        known = pipe.hget(self._key("merges"), merge.merge_id)
        above, before = self._upwards(pipe, merge.user_id), self._upwards(pipe, merge.alias)[1:]
        pipe.multi()
        if known:
            return False
        if merge.alias in above:
            raise IdentityConflict(f"{merge.user_id!r} is merged into {merge.alias!r}: undo that merge first")
        if before:
            raise IdentityConflict(f"{merge.alias!r} is merged into {before[0]!r} already: undo that merge first")
        pipe.hset(self._key("merges"), merge.merge_id, json.dumps({
            "alias": merge.alias, "user_id": merge.user_id, "time_us": merge.time_us, "undone_us": None}))
        pipe.hset(self._key("up"), merge.alias, merge.user_id)
        pipe.sadd(self._key("down:", merge.user_id), merge.alias)
        for one in (merge.alias, merge.user_id):
            pipe.sadd(self._key("m:", one), merge.merge_id)
        return True

    def _upwards(self, db: Any, user_id: str) -> list[str]:
        """`user_id` and what it is merged into, step by step."""
        chain = [user_id]
        while above := db.hget(self._key("up"), chain[-1]):
            chain.append(above)
        return chain

    def _profile(self, db: Any, user_id: str) -> list[str]:
        found = [self._upwards(db, user_id)[-1]]
        for one in found:  # grows while it is gone through
            found += sorted(db.smembers(self._key("down:", one)))
        return [user_id, *sorted(one for one in found if one != user_id)]

    def _key(self, kind: str, name: str = "") -> str:
        return f"{self._prefix}{kind}{name}"


def _sorted(events: list[Event]) -> list[Event]:
    return sorted(events, key=lambda e: (e.time_us, e.event_id))


def _packed(event: Event) -> str:
    return json.dumps([event.event_id, event.item_id, event.event_type, event.time_us], separators=(",", ":"))


def _unpacked(user_id: str, text: str) -> Event:
    event_id, item_id, event_type, time_us = json.loads(text)
    return Event(event_id, user_id, item_id, event_type, time_us)
