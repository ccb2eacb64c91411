"""How often a client may ask: a bucket of tokens each, which fills at the client's rate."""

import time
from collections.abc import Callable

from serving.api.keys import Client


class Rates:
    """Buckets of the clients of one process; used by its event loop alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # name -> (tokens, as of)

    def wait(self, client: Client) -> float:
        """Seconds until the client may ask again; 0 where it may now, which is then counted."""
        now = self._clock()
        tokens, at = self._buckets.get(client.name, (float(client.burst), now))
        tokens = min(client.burst, tokens + (now - at) * client.per_second)
        is_free = tokens >= 1
        self._buckets[client.name] = (tokens - 1 if is_free else tokens, now)
        return 0.0 if is_free else (1 - tokens) / client.per_second
