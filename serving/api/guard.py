"""What every request passes before it is looked at: a name, a place, a whole body within bounds, and a line in the log.

Plain ASGI, because it also holds for requests that no route matches, and costs next to nothing.
"""

import asyncio
import json
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from serving.api.express import Express
from serving.api.metrics import Metrics
from serving.api.problems import Refused, response
from serving.api.settings import ApiSettings

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

IMAGE_PATH = "/v1/search/image"
UPLOADS = frozenset({IMAGE_PATH, "/search/picture"})  # the storefront's is a form
# Answered however much there is to do: what watches the process must see it.
UNBOUNDED = frozenset({"/health", "/ready", "/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_line = json.JSONEncoder(separators=(",", ":")).encode
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
log = logging.getLogger("vitrine.access")


class Guard:
    """Names requests, bounds bodies and how many are answered at once, and tells what became of each."""

    def __init__(self, app: App, settings: ApiSettings, metrics: Metrics, express: Express) -> None:
        self.app, self.settings, self.metrics, self.express = app, settings, metrics, express
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, told = time.perf_counter(), {"status": 500}
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                told["status"] = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._bounded(scope, receive, named)
        except Refused as refused:
            self.metrics.refused.labels(refused.code).inc()
            answer = response(refused.status, refused.code, str(refused), request_id, headers=refused.headers)
            await answer(scope, receive, named)
        finally:
            self._tell(scope, request_id, told["status"], time.perf_counter() - started)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await self._body(scope, receive)
        replayed = False

        async def replay() -> Message:
            nonlocal replayed
            if replayed:
                return await receive()  # waits for the client to hang up
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}

        if scope["path"] in UNBOUNDED:
            await self.app(scope, replay, send)
            return
        # Counted from here on: a slow client takes no place while its body arrives.
        if self.in_flight >= self.settings.max_in_flight:
            raise Refused(503, "overloaded", f"{self.in_flight} requests are being answered, which is as many as this "
                          "process takes on: ask again later", {"Retry-After": str(self.settings.retry_after_s)})
        self.in_flight += 1
        self.metrics.in_flight.set(self.in_flight)
        try:
            if not await self.express.answered(scope, body, send):
                await self.app(scope, replay, send)
        finally:
            self.in_flight -= 1
            self.metrics.in_flight.set(self.in_flight)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body.

        Raises:
            Refused: it is too large, or did not arrive in time.
        """
        most = self.settings.max_image if scope["path"] in UPLOADS else self.settings.max_body
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if declared.isdigit() and int(declared) > most:
            raise _too_large(most)
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.settings.body_timeout_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(408, "hung_up", "the client hung up before its body was whole")
                    part = message.get("body", b"")
                    size += len(part)
                    if size > most:
                        raise _too_large(most)
                    parts.append(part)
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise Refused(408, "slow_body", f"the body did not arrive within {self.settings.body_timeout_s:g} seconds",
                          {"Connection": "close"}) from None

    def _tell(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        """A line that names the route and not the path, which may hold a customer's id."""
        route = getattr(scope.get("route"), "path", None) or "unmatched"
        state, method = scope.get("state", {}), scope["method"] if scope["method"] in _METHODS else "other"
        self.metrics.ended(route, method, status, seconds)
        if log.isEnabledFor(logging.INFO):
            log.info("%s", _line({
                "at": round(time.time(), 3), "request_id": request_id, "client": state.get("client", ""),
                "method": method, "route": route, "status": status, "ms": round(1000 * seconds, 3),
                "release": state.get("release"), "variant": state.get("variant")}))


def _request_id(scope: Scope) -> str:
    """The caller's own, where it is a plain word."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return str(given.decode()) if _ID.fullmatch(given) else secrets.token_hex(8)


def _too_large(most: int) -> Refused:
    return Refused(413, "too_large", f"the body has more than {most:,} bytes", {"Connection": "close"})
