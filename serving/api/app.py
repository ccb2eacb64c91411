"""The HTTP process: routes over the service, within bounds."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import APIRouter, FastAPI

from serving.api import asking, health, problems, telling
from serving.api.desk import Desk
from serving.api.express import Express
from serving.api.guard import Guard
from serving.api.keys import KeyRing
from serving.api.metrics import Metrics
from serving.api.settings import ApiSettings
from serving.service import Service

DESCRIPTION = """Recommendations of one shop, each answer of one release.

Send the client's key as `Authorization: Bearer KEY`. What is wrong with a request is told with status 422, the field
and its bound; 503 comes with `Retry-After`."""


def create_app(
    service: Service, settings: ApiSettings | None = None, keys: KeyRing | None = None,
    pages: Sequence[APIRouter] = (), shared_metrics: Path | None = None,
) -> FastAPI:
    """The app of one shop.

    Args:
        service: what answers.
        settings: bounds.
        keys: clients that may ask; without any, nobody needs a key, and only the loopback interface may be served.
        pages: further routers, such as the storefront's; they need no key.
        shared_metrics: folder of the counters of all processes that share a port.
    """
    settings, metrics = settings or ApiSettings(), Metrics(shared_metrics)
    desk = Desk(service, settings, keys or KeyRing(), metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()

    # No documentation page: it would bring scripts of a foreign host into the shop's own. /openapi.json has it all.
    app = FastAPI(title="Vitrine", version="1", description=DESCRIPTION, docs_url=None, redoc_url=None,
                  lifespan=lifespan)
    app.state.desk = desk
    problems.install(app, settings.retry_after_s)
    for router in (asking.router, telling.events_router, telling.operate_router, health.router, *pages):
        app.include_router(router)
    app.add_middleware(Guard, settings=settings, metrics=metrics, express=Express(desk))
    return app
