"""Routes for what watches the process: no key, no bound, and nothing personal."""

import asyncio
from datetime import datetime
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from pipelines.contracts import Document
from serving.api.desk import AtDesk, Desk, json
from serving.api.metrics import CONTENT_TYPE
from serving.sessions.contract import SessionsUnavailable

router = APIRouter(tags=["operations"])


class Health(Document):
    """How the process is.

    Attributes:
        status: "degraded" where it answers without its session store, or cannot follow the log of releases or that of
            erasures.
        release: that answers, None before the first.
        sessions: whether the session store answers.
        keys: whether clients need a key; without keys only the loopback interface may be served.
        newest: release of the log; above `release` where that one was refused or is being opened.
        refused: releases that failed a check.
        loaded_at, load_s: when the release began to serve, and how long it took.
    """

    status: Literal["ok", "degraded", "no_release"]
    release: int | None
    sessions: Literal["up", "down"]
    keys: Literal["required", "none: loopback only"]
    newest: int | None
    refused: tuple[int, ...]
    loaded_at: datetime | None
    load_s: float | None


@router.get("/health", response_model=Health)
async def health(at: AtDesk) -> Response:
    """How the process is; 200 as long as it lives."""
    return json(await asyncio.to_thread(_health, at))


@router.get("/ready", response_model=Health, responses={503: {"model": Health, "description": "No release is live."}})
async def ready(at: AtDesk) -> Response:
    """Whether it can answer: 200, or 503 before the first release."""
    state = await asyncio.to_thread(_health, at)
    return JSONResponse(state.model_dump(mode="json"), 200 if state.release is not None else 503)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(at: AtDesk) -> Response:
    """Counters in Prometheus's text format."""
    at.metrics.watch(at.service.live.status())
    return Response(at.metrics.text(), media_type=CONTENT_TYPE)


def _health(at: Desk) -> Health:
    live = at.service.live.status()
    try:
        at.service.shoppers.sessions.ping()
        is_up = True
    except SessionsUnavailable:
        is_up = False
    is_well = is_up and live.trouble is None and at.service.shoppers.erasure_trouble is None
    return Health(status="no_release" if live.number is None else "ok" if is_well else "degraded",
                  release=live.number, sessions="up" if is_up else "down",
                  keys="required" if at.keys.clients else "none: loopback only", newest=live.newest,
                  refused=tuple(refused.number for refused in live.refused), loaded_at=live.loaded_at,
                  load_s=live.load_s)
