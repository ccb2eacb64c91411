"""What the routes share: the service, threads to answer with, who may ask, and what is counted."""

import asyncio
import math
from collections.abc import Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, ParamSpec, TypeVar

from fastapi import Depends, Request
from fastapi.responses import Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from serving.answers import Slate
from serving.api.keys import Client, KeyRing, Scope
from serving.api.metrics import Metrics
from serving.api.problems import Overloaded, Refused
from serving.api.rates import Rates
from serving.api.settings import ApiSettings
from serving.service import Service

P = ParamSpec("P")
T = TypeVar("T")

_bearer = HTTPBearer(auto_error=False, description="The client's key, made with `vitrine keys`.")


class Desk:
    """Answers on threads, within a time."""

    def __init__(self, service: Service, settings: ApiSettings, keys: KeyRing, metrics: Metrics) -> None:
        self.service, self.settings, self.keys, self.metrics = service, settings, keys, metrics
        self.rates = Rates()
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="vitrine-answer")

    async def run(self, answer: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `answer` on a thread.

        Raises:
            Overloaded: it took too long, or waited too long for a thread.
        """
        future = asyncio.get_running_loop().run_in_executor(self._threads, lambda: answer(*args, **kwargs))
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                return await future
        except TimeoutError:
            raise Overloaded(f"there was no answer within {self.settings.timeout_s:g} seconds: ask again later",
                             self.settings.retry_after_s) from None

    async def slate(
        self, request: Request, question: str, answer: Callable[[], Slate], is_quick: bool = False
    ) -> Response:
        """Answer with a slate, counted and named in the log.

        A quick answer takes less time than it takes to hand it to a thread, and threads share one interpreter lock:
        it is made at once, between two events of the loop.
        """
        slate = answer() if is_quick else await self.run(answer)
        self.metrics.saw(question, slate, sum(item.is_fallback for item in slate.items))
        request.state.release, request.state.variant = slate.release, slate.variant
        return json(slate)

    def close(self) -> None:
        """Let the threads end; what waits for one is not begun."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def json(answer: BaseModel) -> Response:
    """An answer as it is sent: its own fields are checked already, FastAPI would check them again."""
    return Response(answer.model_dump_json(), media_type="application/json")


def desk(request: Request) -> Desk:
    """The desk of the app that a request is for."""
    found: Desk = request.app.state.desk
    return found


AtDesk = Annotated[Desk, Depends(desk)]


def scoped(scope: Scope) -> Callable[..., None]:
    """A dependency that lets those through whose key has `scope`, as often as it may ask."""

    async def check(
        request: Request, at: AtDesk, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> None:
        admit(request.scope.setdefault("state", {}), at, scope, given.credentials if given is not None else None)

    return check  # type: ignore[return-value]


def bearer(authorization: str) -> str | None:
    """The key of a header Authorization; None where it holds none."""
    kind, _, key = authorization.partition(" ")
    return key if key and kind.lower() == "bearer" else None


def admit(state: MutableMapping[str, Any], at: Desk, scope: Scope, key: str | None) -> None:
    """Let a request through whose key has `scope`, as often as it may ask; once, whichever ways it goes.

    Args:
        state: of the request; takes the client's name.
        at: where it asks.
        scope: that is needed.
        key: that it brings.

    Raises:
        Refused: it has no key, an unknown one, one without that scope, or asks too often.
    """
    if not at.keys.clients or state.get("is_admitted"):
        return
    client = at.keys.client(key) if key is not None else None
    if client is None:
        at.metrics.refused.labels("unauthorized").inc()
        raise Refused(401, "unauthorized", "send a key of this service: Authorization: Bearer KEY",
                      {"WWW-Authenticate": "Bearer"})
    state["client"] = client.name
    _check_scope(client, scope, at)
    wait = at.rates.wait(client)
    if wait > 0:
        at.metrics.refused.labels("rate").inc()
        raise Refused(429, "rate", f"this key may ask {client.per_second:g} times a second",
                      {"Retry-After": str(math.ceil(wait))})


def _check_scope(client: Client, scope: Scope, at: Desk) -> None:
    if scope not in client.scopes:
        at.metrics.refused.labels("forbidden").inc()
        raise Refused(403, "forbidden", f"this key lacks the scope {scope!r}; it has {', '.join(client.scopes)}")
