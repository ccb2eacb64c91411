"""The short way to an answer for requests that are right; all others go FastAPI's way, which says what is wrong.

FastAPI looks at every parameter of a route anew with each request, which takes longer than many an answer. Here the
body goes from its bytes to the question in one step of pydantic's, and the key is looked at directly.
"""

import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

from serving.api.desk import admit, bearer, desk
from serving.api.keys import Scope

_PARAMETERS = ("request", "question", "at")
_JSON = "application/json"


def lean(scope: Scope) -> type[APIRoute]:
    """Class of routes that ask for a key with `scope`; routes of other parameters than `_PARAMETERS` are as ever."""

    class LeanRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            whole, endpoint = super().get_route_handler(), self.endpoint
            parameters = inspect.signature(endpoint, eval_str=True).parameters
            if tuple(parameters) != _PARAMETERS:
                return whole
            model: type[BaseModel] = parameters["question"].annotation

            async def handler(request: Request) -> Response:
                if request.headers.get("content-type") != _JSON:
                    return await whole(request)
                try:
                    question = model.model_validate_json(await request.body())
                except ValidationError:
                    return await whole(request)
                at = desk(request)
                admit(request.scope.setdefault("state", {}), at, scope,
                      bearer(request.headers.get("authorization", "")))
                answer: Response = await endpoint(request, question, at)
                return answer

            return handler

    return LeanRoute
