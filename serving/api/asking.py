"""Routes that answer questions: scope serve."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response

from serving import answers, questions
from serving.api.desk import AtDesk, json, scoped
from serving.api.guard import IMAGE_PATH
from serving.api.lean import lean
from serving.api.problems import responses
from serving.discover.discovery import Discovery
from serving.filters import MAX_ID

COMMON = responses(400, 401, 403, 408, 413, 422, 429, 503)
router = APIRouter(prefix="/v1", dependencies=[Depends(scoped("serve"))], responses=COMMON,
                   route_class=lean("serve"))
ItemId = Annotated[str, Path(min_length=1, max_length=MAX_ID, examples=["P-00007"])]


@router.post("/recommendations", response_model=answers.Slate, tags=["answers"])
async def recommendations(request: Request, question: questions.Recommend, at: AtDesk) -> Response:
    """What for this shopper: known, new or anonymous, with what happened in this session."""
    return await at.slate(request, "recommend", lambda: at.service.recommend(question), at.service.is_quick(question))


@router.post("/similar", response_model=answers.Slate, tags=["answers"], responses=responses(404))
async def similar(request: Request, question: questions.Similar, at: AtDesk) -> Response:
    """What is like this item."""
    return await at.slate(request, "similar",
                          lambda: at.service.similar(question.item_id, question.k, question.filters))


@router.post("/search", response_model=answers.Slate, tags=["answers"], responses=responses(409))
async def search(request: Request, question: questions.Search, at: AtDesk) -> Response:
    """What typed words ask for; misspelt and unknown words are read by their parts."""
    return await at.slate(request, "search", lambda: at.service.search(question))


@router.post("/discover", response_model=Discovery, tags=["answers"])
async def discover(request: Request, question: questions.Discover, at: AtDesk) -> Response:
    """A wish as a shopper says it, with prices, labels and exclusions; follow-ups of the same user refine it."""
    return await at.slate(request, "discover", lambda: at.service.discover(question))


@router.post(
    IMAGE_PATH.removeprefix("/v1"), response_model=answers.Slate, tags=["answers"], responses=responses(409),
    openapi_extra={"requestBody": {"required": True, "content": {
        kind: {"schema": {"type": "string", "format": "binary", "minLength": 1}} for kind in ("image/png", "image/jpeg")
    }}})
async def search_image(
    request: Request, at: AtDesk, k: Annotated[int, Query(ge=1, le=questions.MAX_K)] = 20
) -> Response:
    """Whose picture is most like the one in the body: the bytes of a PNG or JPEG file."""
    data = await request.body()
    return await at.slate(request, "search_image", lambda: at.service.search_image(data, k))


@router.post("/basket", response_model=answers.Slate, tags=["answers"], responses=responses(404))
async def basket(request: Request, question: questions.Basket, at: AtDesk) -> Response:
    """What goes with the items of a basket."""
    return await at.slate(request, "basket",
                          lambda: at.service.basket(question.item_ids, question.k, question.filters))


@router.get("/items/{item_id}", response_model=answers.Detail, tags=["catalogue"], responses=responses(404))
async def item(item_id: ItemId, at: AtDesk) -> Response:
    """All that the live release says of an item."""
    return json(await at.run(at.service.item, item_id))


@router.get("/categories", response_model=answers.Categories, tags=["catalogue"])
async def categories(at: AtDesk) -> Response:
    """Categories of the live release, the largest first."""
    return json(await at.run(at.service.categories))


@router.get("/releases/live", response_model=answers.LiveReleaseInfo, tags=["operations"])
async def live(at: AtDesk) -> Response:
    """Which release answers, and what it can be asked."""
    return json(await at.run(at.service.live_release))
