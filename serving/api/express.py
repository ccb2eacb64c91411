"""The shortest way to an answer: plain questions for recommendations, before any router looks at them.

A router, its layers of exception handlers and a document of each item take longer than the answer itself. What is not
such a question, is wrong, or goes wrong while it is answered, goes the way of all others, which says what it is.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from pydantic import ValidationError

from pipelines.errors import NothingLive, VitrineError
from serving.api.desk import Desk, admit, bearer
from serving.api.problems import Refused, response
from serving.questions import Recommend

_JSON = b"application/json"
Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Express:
    """Answers `POST /v1/recommendations` where that takes no thread; see `Service.is_quick`."""

    path: Final = "/v1/recommendations"  # also what the log calls the route

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    async def answered(self, scope: Scope, body: bytes, send: Send) -> bool:
        """Answer a request, if it is one for this way; whether it was.

        Args:
            scope: of ASGI, with the "state" of the request.
            body: the whole of it.
            send: of ASGI.
        """
        headers, state = dict(scope["headers"]), scope["state"]
        question = self._question(scope, headers, body)
        if question is None:
            return False
        scope["route"] = self
        try:
            admit(state, self.desk, "serve", bearer(headers.get(b"authorization", b"").decode("latin-1")))
        except Refused as refused:
            await response(refused.status, refused.code, str(refused), state["request_id"], headers=refused.headers)(
                scope, _nothing, send)
            return True
        try:
            answer = self.desk.service.written(question)
        except VitrineError:
            state["is_admitted"] = True  # its key's rate counts it once
            return False
        self.desk.metrics.saw("recommend", answer.slate, answer.spare)
        state["release"], state["variant"] = answer.slate.release, None
        await send({"type": "http.response.start", "status": 200, "headers": [
            (b"content-length", str(len(answer.body)).encode()), (b"content-type", _JSON)]})
        await send({"type": "http.response.body", "body": answer.body})
        return True

    def _question(self, scope: Scope, headers: dict[bytes, bytes], body: bytes) -> Recommend | None:
        """What is asked; None where it is something else, is wrong, or takes a thread."""
        if scope["path"] != self.path or scope["method"] != "POST" or headers.get(b"content-type") != _JSON:
            return None
        try:
            question = Recommend.model_validate_json(body)
            return question if self.desk.service.is_quick(question) else None
        except (ValidationError, NothingLive):
            return None


async def _nothing() -> MutableMapping[str, Any]:
    return {"type": "http.disconnect"}  # the body was read
