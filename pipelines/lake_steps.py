"""The ingest of a day as a chain of steps: the one place that knows their order, for Airflow and command line alike."""

from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from pipelines.contracts import Audited, Document, Landed, Origin, Published
from pipelines.errors import SettingsError
from pipelines.retrain import shop_of
from pipelines.settings import Settings


class IngestParams(Document):
    """What a person or a schedule decides about the ingest of a day.

    Attributes:
        source: folder or URL of the shop's tables; a URL may hold a password.
        day: of UTC.
        late_days: how many earlier days are compared with the source, and opened again where they changed.
        landing: whether the events that the online process laid down are taken in.
        accept: checks of the audit that a person has looked into.
        spec: TOML file that overrides names, kinds and weights.
        reason: goes into the day's record.
    """

    source: str
    day: date
    late_days: int = Field(7, ge=0, le=90)
    landing: bool = True
    accept: tuple[str, ...] = ()
    spec: str | None = None
    reason: str = Field("ingest", min_length=1)

    @property
    def shop(self) -> str:
        """Name of the shop, and of its lake's folder."""
        return shop_of(self.source)


def _land(_: None, params: IngestParams, origin: Origin, places: Settings) -> Landed:
    from pipelines.lake import Lake
    from pipelines.lake_ingest import LandSettings, land
    from pipelines.releases.opening import open_store
    from pipelines.shop_spec import load_spec

    lake = Lake.make(places.lake_of(params.shop), params.shop)
    landing = places.landing_of(params.shop)
    return land(params.source, params.day, load_spec(params.source, params.spec), lake,
                LandSettings(late_days=params.late_days), places.artifacts,
                landing if params.landing and landing.is_dir() else None,
                open_store(places.of_shop(params.shop)).erasures)


def _audit(landed: Landed, params: IngestParams, origin: Origin, places: Settings) -> Audited:
    from pipelines.lake_audit import AuditSettings
    from pipelines.lake_ingest import audit, insist

    audited = audit(landed, AuditSettings(), places.artifacts, params.accept)
    insist(audited)
    return audited


def _publish(audited: Audited, params: IngestParams, origin: Origin, places: Settings) -> Published:
    from pipelines.lake_ingest import publish

    return publish(audited, origin)


_CHAIN: Mapping[str, tuple[type[BaseModel] | None, Callable[..., BaseModel]]] = {
    "land": (None, _land), "audit": (Landed, _audit), "publish": (Audited, _publish)}
STEPS: tuple[str, ...] = tuple(_CHAIN)


def run_step(
    name: str, upstream: Mapping[str, Any] | None, params: IngestParams, origin: Origin, places: Settings
) -> dict[str, Any]:
    """Run one step on the JSON contract of the step before it and return its own as JSON.

    Raises:
        SettingsError: no step has this name, or the source is the lake itself.
        DataError: the source breaks the data contract, or the audit refused the day.
    """
    if name not in _CHAIN:
        raise SettingsError(f"there is no step {name!r}; steps are {', '.join(STEPS)}")
    lake = places.lake_of(params.shop)
    if "://" not in params.source and Path(params.source).resolve() == lake.resolve():
        raise SettingsError(f"{params.source} is the lake itself: give the source that it is to be filled from")
    kind, call = _CHAIN[name]
    taken = kind.model_validate(dict(upstream or {})) if kind is not None else None
    return call(taken, params, origin, places).model_dump(mode="json")


def ingest_day(params: IngestParams, origin: Origin, places: Settings) -> Published:
    """All steps in order.

    Raises:
        DataError: the source breaks the data contract, or the audit refused the day; nothing is published.
    """
    contract: dict[str, Any] | None = None
    for step in STEPS:
        contract = run_step(step, contract, params, origin, places)
    return Published.model_validate(contract)
