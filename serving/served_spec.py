"""What serving reads of a bundle's feature specification, spec.json."""

from typing import Literal

from pydantic import BaseModel, Field


class ServedSpec(BaseModel):
    """Its fields, with bounds within which it can be served."""

    event_types: list[str] = Field(min_length=1, max_length=1000)
    event_weights: dict[str, float] = Field(min_length=1)
    visits: int = Field(ge=1, le=10_000)
    user_slots: int = Field(ge=0, le=10_000)
    user_token_count: int = Field(ge=0, lt=1 << 31)
    calendar: bool = False
    display: dict[Literal["title", "category", "price", "image"], str | None]
