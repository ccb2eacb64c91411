"""What an experiment is, and who is in which of its variants."""

import hashlib
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator, model_validator

from pipelines.contracts import Document, UtcTime
from serving.rules import Rules

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]


class Variant(Document):
    """One of the things that are compared.

    Attributes:
        name: lower case letters, digits and hyphens.
        weight: its share of the users is this by the sum of all.
        release: number of the release that answers; None for the live one.
        rules: of merchandising; None for those of the shop.
    """

    name: Name
    weight: float = Field(1.0, gt=0, le=1000, allow_inf_nan=False)
    release: int | None = Field(None, ge=1)
    rules: Rules | None = None


class Spec(Document):
    """An experiment as a person writes it.

    Attributes:
        name: of the experiment.
        variants: the first is the control that the others are compared with.
        horizon_hours: what a user does so long after the first exposure counts; a user counts when it has passed.
        level: probability of calling a variant different that is not, however often one looks.
        salt: users are assigned by it; another salt assigns them anew. Made of name and number where it is not given.
    """

    name: Name
    variants: tuple[Variant, ...] = Field(min_length=2, max_length=10)
    horizon_hours: float = Field(24.0, gt=0, le=24 * 90, allow_inf_nan=False)
    level: float = Field(0.05, gt=0, le=0.5, allow_inf_nan=False)
    salt: str | None = Field(None, min_length=1, max_length=200)

    @field_validator("variants")
    @classmethod
    def _named_apart(cls, variants: tuple[Variant, ...]) -> tuple[Variant, ...]:
        names = [variant.name for variant in variants]
        if len(set(names)) < len(names):
            raise ValueError(f"the variants are called {', '.join(names)}: give each a name of its own")
        return variants

    @property
    def shares(self) -> dict[str, float]:
        """Share of the users by variant."""
        total = sum(variant.weight for variant in self.variants)
        return {variant.name: variant.weight / total for variant in self.variants}


class Record(Document):
    """A line of the experiments' log: an experiment that runs, or the end of it.

    Attributes:
        number: of this record, from 1 without gaps.
        version: number of the record that started the experiment; exposures carry it.
        spec: what is compared, with its salt.
        started_at, started_by, reason: when, by whom and why.
        ended_at, ended_by, ended_because: the same of its end; None while it runs.
    """

    number: int = Field(ge=1, lt=10**8)
    version: int = Field(ge=1)
    spec: Spec
    started_at: UtcTime
    started_by: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    ended_at: UtcTime | None = None
    ended_by: str | None = None
    ended_because: str | None = None

    @model_validator(mode="after")
    def _is_start_or_end(self) -> "Record":
        if (self.ended_at is None) != (self.number == self.version):
            raise ValueError(f"record {self.number} of the experiment of record {self.version}: the first starts it, "
                             "any other ends it")
        if self.spec.salt is None:
            raise ValueError("a record says the salt that users were assigned by")
        return self


def place_of(salt: str, unit: str) -> float:
    """Place of a unit in [0, 1): the first 8 bytes of SHA-256 over salt, a line break and the unit, by 2^64.

    The same on every machine and in every language; uniform, and independent of the place by any other salt.
    """
    digest = hashlib.sha256(f"{salt}\n{unit}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)  # 53 bits, so that it never rounds up to 1


def assigned(spec: Spec, unit: str) -> Variant:
    """The variant of a unit: variants take the interval [0, 1) in their order, each its share."""
    place, ends = place_of(spec.salt or spec.name, unit), 0.0
    for variant, share in zip(spec.variants, spec.shares.values(), strict=True):
        ends += share
        if place < ends:
            return variant
    return spec.variants[-1]  # shares may add up to a little less than 1
