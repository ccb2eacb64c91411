"""The storefront's routes: pages for people, which work without scripts and need no key."""

import hashlib
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from pipelines.errors import NothingLive
from serving.api.desk import AtDesk
from serving.api.problems import Overloaded
from serving.asked import UnknownItem
from serving.filters import MAX_ID, Id
from serving.landing import LandingUnavailable
from serving.photos import MEDIA_TYPE
from serving.questions import MAX_K, MAX_TEXT
from serving.service import Service
from serving.sessions.contract import SessionsUnavailable
from serving.storefront.settings import StorefrontSettings
from serving.storefront.shop import Storefront
from serving.storefront.visitor import Visitor

HERE = Path(__file__).resolve().parent
STATIC = {"shop.css": "text/css; charset=utf-8", "shop.js": "text/javascript; charset=utf-8",
          "mark.svg": "image/svg+xml"}
# Pictures may be the shop's own on the web; everything else comes from here, and no script stands in a page.
POLICY = ("default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' https:; "
          "form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
           "Cache-Control": "no-store"}
_BACK = re.compile(r"/(?![/\\])[^\s\\]*")  # a path of this site and of no other

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Who = Annotated[Visitor, Depends(Visitor.of)]


def storefront_router(service: Service, settings: StorefrontSettings | None = None) -> APIRouter:
    """Routes of the pages, for `create_app(..., pages=[...])`."""
    shop = Storefront(service, settings or StorefrontSettings())
    pages = Environment(loader=FileSystemLoader(HERE / "pages"), autoescape=True, undefined=StrictUndefined,
                        trim_blocks=True, lstrip_blocks=True)
    files = {name: (HERE / "static" / name).read_bytes() for name in STATIC}

    def rendered(page: str, visitor: Visitor, request: Request, status: int = 200, **content: Any) -> Response:
        text = pages.get_template(page).render(shop.frame(visitor) | {"path": _path(request)} | content)
        response = HTMLResponse(text, status, HEADERS)
        visitor.remember(response, request.url.scheme == "https")
        return response

    def plain(problem: str, status: int) -> Response:
        """A page that needs no release."""
        text = pages.get_template("closed.html").render(shop=shop.settings.name, problem=problem)
        return HTMLResponse(text, status, HEADERS | {"Retry-After": "5"})

    class Page(APIRoute):
        """A route whose mistakes are told as a page."""

        def get_route_handler(self) -> Handler:
            """The handler, with its exceptions as pages."""
            handle = super().get_route_handler()

            async def handled(request: Request) -> Response:
                try:
                    return await handle(request)
                except (UnknownItem, RequestValidationError):
                    problem, status = "We do not have that here.", 404
                except (SessionsUnavailable, LandingUnavailable):
                    problem, status = "We cannot keep your choice at the moment. Please try again.", 503
                except Overloaded:
                    return plain("Too many visitors at once. Please come back in a moment.", 503)
                except NothingLive:
                    return plain("The shop opens soon: nothing has been released yet.", 503)
                visitor = Visitor.of(request)
                return await request.app.state.desk.run(  # type: ignore[no-any-return]
                    rendered, "problem.html", visitor, request, status, problem=problem)

            return handled

    router = APIRouter(route_class=Page, include_in_schema=False)
    @router.get("/")
    async def home(request: Request, visitor: Who, at: AtDesk) -> Response:
        return await at.run(lambda: rendered("home.html", visitor, request, **shop.home(visitor)))

    @router.get("/product/{item_id:path}")
    async def product(request: Request, item_id: str, visitor: Who, at: AtDesk) -> Response:
        return await at.run(lambda: rendered("product.html", visitor, request, **shop.product(visitor, item_id)))

    @router.get("/category/{name:path}")
    async def category(
        request: Request, name: str, visitor: Who, at: AtDesk, more: Annotated[int, Query(ge=0, le=MAX_K)] = 0,
    ) -> Response:
        return await at.run(
            lambda: rendered("category.html", visitor, request, **shop.category(visitor, name, more)))

    @router.get("/search")
    async def search(
        request: Request, visitor: Who, at: AtDesk, q: Annotated[str, Query(max_length=MAX_TEXT)] = "",
    ) -> Response:
        if not q.strip():
            return RedirectResponse("/", 303, HEADERS)
        return await at.run(lambda: rendered("search.html", visitor, request, **shop.search(q)))

    @router.post("/search/picture")
    async def search_picture(request: Request, visitor: Who, at: AtDesk, picture: UploadFile) -> Response:
        data, name = await picture.read(), picture.filename or "your picture"
        return await at.run(
            lambda: rendered("search.html", visitor, request, **shop.search_picture(data, name[:MAX_ID])))

    @router.post("/look")
    async def look(
        request: Request, visitor: Who, at: AtDesk, item_id: Annotated[Id, Form()], back: Annotated[str, Form()] = "/",
    ) -> Response:
        await at.run(shop.look, visitor, item_id)
        return _back(back, visitor, request)

    @router.post("/bag")
    async def bag(
        request: Request, visitor: Who, at: AtDesk, item_id: Annotated[Id, Form()], back: Annotated[str, Form()] = "/",
    ) -> Response:
        await at.run(shop.bag, visitor, item_id)
        return _back(back, visitor, request)

    @router.post("/persona")
    async def persona(
        request: Request, key: Annotated[str, Form(max_length=10)] = "", back: Annotated[str, Form()] = "/",
    ) -> Response:
        # Somebody else begins without the clicks of the one before; the same one again forgets them.
        return _back(back, Visitor.anew(key or None), request)

    @router.get("/pictures/{item_id:path}")
    async def picture(request: Request, item_id: str, at: AtDesk) -> Response:
        found = await at.run(shop.picture, item_id)
        if found is None:
            return Response(status_code=404)
        data, digest = found
        tag = f'"{digest[:16]}"'
        keep = "public, max-age=31536000, immutable" if "v" in request.query_params else "no-cache"
        caching = {"ETag": tag, "Cache-Control": keep, "X-Content-Type-Options": "nosniff"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=caching)
        return Response(data, media_type=MEDIA_TYPE, headers=caching)

    @router.get("/storefront/{name}")
    async def static(request: Request, name: str) -> Response:
        if name not in files:
            raise UnknownItem(f"there is no file {name!r} here")
        tag = f'"{hashlib.sha256(files[name]).hexdigest()[:16]}"'
        caching = {"ETag": tag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=caching)
        return Response(files[name], media_type=STATIC[name], headers=caching)

    return router


def _path(request: Request) -> str:
    """Path and query of a page, to come back to after a choice."""
    if request.method != "GET":
        return "/"
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _back(back: str, visitor: Visitor, request: Request) -> Response:
    response = RedirectResponse(back if _BACK.fullmatch(back) else "/", 303, HEADERS)
    visitor.remember(response, request.url.scheme == "https")
    return response
