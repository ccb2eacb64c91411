"""Routes for what watches the process: no key, no bound, and nothing personal."""

import asyncio
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from pipelines.contracts import Document
from serving.api.desk import AtDesk, json
from serving.api.metrics import CONTENT_TYPE
from serving.sessions.contract import SessionsUnavailable

router = APIRouter(tags=["operations"])


class Health(Document):
    """How the process is.

    Attributes:
        status: "degraded" where it answers without its session store.
        release: that answers, None before the first.
        sessions: whether the session store answers.
        keys: whether clients need a key; without keys only the loopback interface may be served.
    """

    status: Literal["ok", "degraded", "no_release"]
    release: int | None
    sessions: Literal["up", "down"]
    keys: Literal["required", "none: loopback only"]


@router.get("/health", response_model=Health)
async def health(at: AtDesk) -> Response:
    """How the process is; 200 as long as it lives."""
    return json(await asyncio.to_thread(_health, at))


@router.get("/ready", response_model=Health, responses={503: {"model": Health, "description": "No release is live."}})
async def ready(at: AtDesk) -> Response:
    """Whether it can answer: 200, or 503 before the first release."""
    state = await asyncio.to_thread(_health, at)
    return JSONResponse(state.model_dump(), 200 if state.release is not None else 503)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(at: AtDesk) -> Response:
    """Counters in Prometheus's text format."""
    release = at.service.live.current()
    if release is not None:
        at.metrics.release.set(release.number)
    return Response(at.metrics.text(), media_type=CONTENT_TYPE)


def _health(at: AtDesk) -> Health:
    release = at.service.live.current()
    try:
        at.service.shoppers.sessions.ping()
        is_up = True
    except SessionsUnavailable:
        is_up = False
    return Health(status="no_release" if release is None else "ok" if is_up else "degraded",
                  release=release.number if release is not None else None, sessions="up" if is_up else "down",
                  keys="required" if at.keys.clients else "none: loopback only")
