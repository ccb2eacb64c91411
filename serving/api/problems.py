"""What a caller is told when something is wrong: always the same shape, never a stack trace, never their data."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ConfigDict
from starlette.exceptions import HTTPException

from pipelines.contracts import Document
from pipelines.errors import DataError, NothingLive, StoreUnreachable, Unanswerable, VitrineError
from serving.asked import UnknownItem
from serving.landing import LandingUnavailable
from serving.sessions.contract import IdentityConflict, SessionsUnavailable

log = logging.getLogger("vitrine.serve")
_BOUNDS = ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern", "expected")


class FieldProblem(Document):
    """What is wrong with one field; `bound` is what it had to keep to, such as {"le": 200}."""

    field: str
    message: str
    bound: Mapping[str, Any] = {}


class Problem(Document):
    """Why there is no answer."""

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "code": "invalid", "message": "1 field is out of bounds", "request_id": "5f0c",
        "fields": [{"field": "k", "message": "Input should be less than or equal to 200", "bound": {"le": 200}}]}]})

    code: str
    message: str
    request_id: str = ""
    fields: tuple[FieldProblem, ...] = ()


class Overloaded(Exception):
    """The process has more to do than it can; `seconds` is when to ask again."""

    def __init__(self, message: str, seconds: int) -> None:
        super().__init__(message)
        self.seconds = seconds


class Refused(Exception):
    """A request is refused before it is read; `status` says how."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers or {})


def response(
    status: int, code: str, message: str, request_id: str, fields: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem as HTTP."""
    problem = Problem(code=code, message=_clean(message), request_id=request_id, fields=tuple(fields))
    return JSONResponse(problem.model_dump(mode="json"), status, dict(headers or {}))


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of the problems that a route may answer with."""
    said = {400: "The body is no JSON.", 401: "No key, or an unknown one.", 403: "The key lacks the scope.",
            404: "The live release does not know the item.", 405: "This path knows other methods.",
            408: "The body did not arrive in time.",
            409: "It contradicts what is known, or the live release cannot answer it.", 413: "The body is too large.",
            422: "A field is out of bounds; the answer names it and the bound.",
            429: "The key asks too often; Retry-After says when to go on.",
            503: "Too much to do, no release yet, or the session store is down; Retry-After says when to ask again."}
    return {status: {"model": Problem, "description": said[status]} for status in statuses}


def _clean(text: str) -> str:
    """Text that can be written as UTF-8: JSON may smuggle in half a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _request_id(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))


def install(app: FastAPI, retry_after_s: int) -> None:
    """Turn exceptions into problems."""
    later = {"Retry-After": str(retry_after_s)}

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        fields = [FieldProblem(
            field=_clean(".".join(str(part) for part in one["loc"][1:]) or str(one["loc"][0])),
            message=_clean(str(one["msg"])),
            bound={name: value for name, value in one.get("ctx", {}).items() if name in _BOUNDS},
        ) for one in error.errors()[:20]]
        number = len(error.errors())
        return response(422, "invalid", f"{number} field{'s are' if number > 1 else ' is'} out of bounds",
                        _request_id(request), fields)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return response(error.status_code, "http", str(error.detail), _request_id(request), headers=error.headers)

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return response(error.status, error.code, str(error), _request_id(request), headers=error.headers)

    @app.exception_handler(Overloaded)
    async def overloaded(request: Request, error: Overloaded) -> Response:
        return response(503, "overloaded", str(error), _request_id(request),
                        headers={"Retry-After": str(error.seconds)})

    @app.exception_handler(UnknownItem)
    async def unknown(request: Request, error: UnknownItem) -> Response:
        return response(404, "unknown_item", str(error), _request_id(request))

    @app.exception_handler(DataError)
    async def data(request: Request, error: DataError) -> Response:
        field, colon, _ = str(error).partition(":")
        is_named = bool(colon) and " " not in field
        fields = [FieldProblem(field=field, message=_clean(str(error)))] if is_named else []
        return response(422, "invalid", str(error), _request_id(request), fields)

    @app.exception_handler(Unanswerable)
    async def unanswerable(request: Request, error: Unanswerable) -> Response:
        return response(409, "unanswerable", str(error), _request_id(request))

    @app.exception_handler(IdentityConflict)
    async def conflict(request: Request, error: IdentityConflict) -> Response:
        return response(409, "identity_conflict", str(error), _request_id(request))

    @app.exception_handler(NothingLive)
    async def no_release(request: Request, _: NothingLive) -> Response:
        # The message of the error names the store; /health tells more to those who watch the process.
        return response(503, "no_release", "no release is live: ask again later", _request_id(request), headers=later)

    @app.exception_handler(Exception)
    async def defect(request: Request, error: Exception) -> Response:
        # Logged with its trace by the server; a caller gets the id to ask about.
        return response(500, "defect", "this is a defect of the service: report the request id", _request_id(request))

    @app.exception_handler(StoreUnreachable)
    async def no_store(request: Request, error: VitrineError) -> Response:
        # The message names the store: it is for whoever runs the process.
        log.error("%s", error)
        return response(503, "store_unavailable", "it cannot be kept at present: ask again", _request_id(request),
                        headers=later)

    @app.exception_handler(LandingUnavailable)
    @app.exception_handler(SessionsUnavailable)
    async def no_sessions(request: Request, _: VitrineError) -> Response:
        # The message of the error names files and hosts, which are nobody's business out there.
        return response(503, "sessions_unavailable", "it cannot be kept at present: deliver it again",
                        _request_id(request), headers=later)
