"""The page Releases of Airflow: what `vitrine releases` and `vitrine diff` say, and the way back by the DAG `rollback`.

Airflow signs people in and says what they may. Whoever may read the runs of the DAG `rollback` may look; whoever may
trigger it finds a button on each release that can be gone back to. The button starts the DAG as a dry run: nothing is
live again before a person has read its result and triggered it once more, with the dry run off.
"""

from pathlib import Path
from threading import Lock
from typing import Annotated, Any

from airflow.api.common.trigger_dag import trigger_dag
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.exceptions import DagNotFound, ParamValidationError
from airflow.models.dag import DagModel
from airflow.utils.types import DagRunTriggeredByType
from fastapi import Depends, FastAPI, Form, Header, HTTPException, Query, Request
from fastapi import Path as InPath
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from pipelines.errors import StoreUnreachable, VitrineError
from plugins.releases.view import NoSuchRelease, ReleasesView

HERE = Path(__file__).resolve().parent
ROLLBACK = "rollback"  # the DAG
STATIC = {"releases.css": "text/css; charset=utf-8", "releases.js": "text/javascript; charset=utf-8"}
# No script stands in a page, nothing comes from elsewhere, and only Airflow's own pages may frame it.
POLICY = ("default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; base-uri 'none'; "
          "frame-ancestors 'self'")
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
           "Cache-Control": "no-store"}

RUN_ID = r"^[A-Za-z0-9_.:+~-]+$"

Number = Annotated[int, InPath(ge=1, lt=10**8)]
Shop = Annotated[str | None, Query(max_length=200)]


def may_roll_back(user: Any) -> bool:
    """Whether a user may trigger the DAG, as Airflow's own route asks."""
    details = DagDetails(id=ROLLBACK, team_name=DagModel.get_team_name(ROLLBACK))
    return bool(get_auth_manager().is_authorized_dag(
        method="POST", access_entity=DagAccessEntity.RUN, details=details, user=user))


def create_app() -> FastAPI:
    """The page's application, to be mounted below Airflow's: every route asks for a user who may look."""
    pages = Environment(loader=FileSystemLoader(HERE / "pages"), autoescape=True, undefined=StrictUndefined,
                        trim_blocks=True, lstrip_blocks=True)
    may_look = requires_access_dag("GET", DagAccessEntity.RUN, ROLLBACK)
    may_trigger = requires_access_dag("POST", DagAccessEntity.RUN, ROLLBACK)
    app = FastAPI(title="Vitrine releases", docs_url=None, redoc_url=None, openapi_url=None,
                  dependencies=[Depends(may_look)])
    compares = Lock()  # a comparison asks both bundles, in processes of their own: one at a time

    def rendered(request: Request, page: str, status: int = 200, **content: Any) -> Response:
        base = str(request.scope["root_path"])  # Airflow's own path and the place where this app is mounted
        text = pages.get_template(page).render(base=base, airflow=base.rpartition("/")[0], **content)
        return HTMLResponse(text, status, HEADERS)

    @app.exception_handler(VitrineError)
    def told(request: Request, error: VitrineError) -> Response:
        status = 404 if isinstance(error, NoSuchRelease) else 503 if isinstance(error, StoreUnreachable) else 409
        return rendered(request, "problem.html", status, problem=str(error))

    @app.get("/releases")
    def releases(request: Request, user: GetUserDep, shop: Shop = None,
                 last: Annotated[int, Query(ge=1, le=10_000)] = 50) -> Response:
        view = ReleasesView.of(shop)
        rows = view.rows(last) if view.shop is not None else []
        if not rows:
            return rendered(request, "shops.html", shops=view.shops if view.shop is None else [])
        return rendered(request, "releases.html", view=view, rows=rows, refusals=view.refusals(last),
                        can_roll_back=may_roll_back(user), last=last)

    @app.get("/releases/diff")
    def diff(request: Request, before: Annotated[int, Query(ge=1, lt=10**8)],
             after: Annotated[int, Query(ge=1, lt=10**8)], shop: Shop = None) -> Response:
        view = ReleasesView.of(shop)
        if not compares.acquire(blocking=False):
            raise StoreUnreachable("another comparison is under way: load this page again in a few seconds")
        try:
            tables = view.diff(before, after)
        finally:
            compares.release()
        return rendered(request, "diff.html", view=view, before=before, after=after, tables=tables)

    @app.get("/releases/{number}")
    def release(request: Request, user: GetUserDep, number: Number, shop: Shop = None,
                run: Annotated[str | None, Query(pattern=RUN_ID, max_length=250)] = None) -> Response:
        view = ReleasesView.of(shop)
        is_paused = run is not None and ROLLBACK in DagModel.get_paused_dag_ids([ROLLBACK])
        return rendered(request, "release.html", view=view, row=view.row(number), addresses=view.addresses(number),
                        can_roll_back=may_roll_back(user), run=run, is_paused=is_paused)

    @app.post("/releases/{number}/rollback", dependencies=[Depends(may_trigger)])
    def rollback(request: Request, user: GetUserDep, number: Number, reason: Annotated[str, Form(max_length=2000)],
                 shop: Shop = None, sec_fetch_site: Annotated[str | None, Header()] = None) -> Response:
        if sec_fetch_site not in (None, "same-origin"):
            raise HTTPException(403, "this form is sent from its own page alone")
        view = ReleasesView.of(shop)
        conf = {"to": view.row(number).release.number, "reason": reason.strip(), "shop": view.shop, "dry_run": True}
        try:
            run = trigger_dag(ROLLBACK, triggered_by=DagRunTriggeredByType.UI, conf=conf,
                              triggering_user_name=user.get_name())
        except (ParamValidationError, ValueError) as error:
            return rendered(request, "problem.html", 400, problem=f"Airflow refused the form: {error}")
        except DagNotFound:
            run = None
        if run is None:
            return rendered(request, "problem.html", 409, problem="Airflow has no DAG rollback: see that the DAG "
                            "processor runs, and whether the file imports; `vitrine rollback` does the same")
        here = f"{request.scope['root_path']}/releases/{number}"
        return RedirectResponse(view.link(here, run=run.run_id), 303, HEADERS)

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in STATIC:
            raise HTTPException(404)
        return Response((HERE / "static" / name).read_bytes(), media_type=STATIC[name], headers=HEADERS)

    return app
