"""Routes that tell the service something: scopes events and operate."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response

from serving import answers, questions
from serving.api.asking import COMMON
from serving.api.desk import AtDesk, json, scoped
from serving.api.problems import responses
from serving.filters import MAX_ID

events_router = APIRouter(prefix="/v1", dependencies=[Depends(scoped("events"))], responses=COMMON, tags=["shoppers"])
operate_router = APIRouter(prefix="/v1", dependencies=[Depends(scoped("operate"))], responses=COMMON,
                           tags=["operations"])
Name = Annotated[str, Path(min_length=1, max_length=MAX_ID)]
Reason = Annotated[str, Query(min_length=1, max_length=200, description="Why; is kept, and is not to name the person.")]


@events_router.post("/events", response_model=answers.Accepted)
async def events(brought: questions.NewEvents, at: AtDesk) -> Response:
    """Keep events for the next answers and the next retrain; an event id that was brought before changes nothing."""
    accepted = await at.run(at.service.add_events, brought)
    at.metrics.took(accepted)
    return json(accepted)


@events_router.post("/identify", response_model=answers.Merged, responses=responses(409))
async def identify(merge: questions.Identify, at: AtDesk) -> Response:
    """An anonymous session, store card or CRM id is found to be a known customer: their histories become one."""
    return json(await at.run(at.service.identify, merge))


@events_router.delete("/identify/{merge_id}", response_model=answers.Merged)
async def separate(merge_id: Name, at: AtDesk) -> Response:
    """Undo a merge."""
    return json(await at.run(at.service.separate, merge_id))


@operate_router.put("/items/availability", response_model=answers.AvailabilityChanged)
async def availability(said: questions.NewAvailability, at: AtDesk) -> Response:
    """Which items can be bought from now on: effective with the next answer, without a new release."""
    return json(await at.run(at.service.set_availability, said.items))


@operate_router.delete("/users/{user_id}", response_model=answers.Forgotten)
async def forget(request: Request, user_id: Name, at: AtDesk, reason: Reason = "asked for") -> Response:
    """Erase a user under all ids of the profile: no process of the shop knows them from now on."""
    actor = f"api: {getattr(request.state, 'client', None) or 'no key'}"
    return json(await at.run(at.service.forget, user_id, actor, reason))
