"""The retrain as a chain of stages: the one place that knows their order, for Airflow and command line alike."""

import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from pipelines.artifacts import CONTRACT, load_contract
from pipelines.contracts import (
    Artifact,
    Document,
    Evaluated,
    Ingested,
    Origin,
    Registered,
    Sealed,
    Snapshot,
    Trained,
    UtcTime,
    Verdict,
    Window,
)
from pipelines.errors import CorruptArtifact, SettingsError, UpstreamErased
from pipelines.settings import Settings

D = TypeVar("D", bound=Document)


def shop_of(source: str) -> str:
    """Name of a shop: the last part of its source's path or of the URL's, without what names may not hold."""
    name = re.split(r"[/\\]", source.partition("?")[0].rstrip("/\\"))[-1]
    return re.sub(r"[^a-z0-9]+", "-", name.rsplit(".", 1)[0].lower()).strip("-") or "shop"


class RetrainParams(Document):
    """What a person or a schedule decides about one retrain.

    Attributes:
        source: folder or URL of the shop's tables.
        as_of: events before this moment count.
        window_days: only events of so many days before `as_of`; None for the whole log.
        epochs: at most so many; None for the training's own setting.
        dry_run: do everything but the release.
        replay: reproduce a past day: judge against what was live then, promote nothing, move no alias.
        spec: TOML file that overrides names, kinds and weights.
        reason: goes into the release record.
        settings: stage -> field -> value, where a stage's settings are to differ from their defaults.
    """

    source: str
    as_of: UtcTime
    window_days: int | None = Field(None, ge=1)
    epochs: int | None = Field(None, ge=1)
    dry_run: bool = False
    replay: bool = False
    spec: str | None = None
    reason: str = Field("retrain", min_length=1)
    settings: Mapping[str, Mapping[str, Any]] = {}

    @property
    def shop(self) -> str:
        """Name of the shop; see `shop_of`."""
        return shop_of(self.source)

    @property
    def window(self) -> Window:
        """The window that the parameters ask for."""
        start = self.as_of - timedelta(days=self.window_days) if self.window_days else None
        return Window(as_of=self.as_of, start=start)

    def of_stage(self, stage: str, kind: type[D], **chosen: Any) -> D:
        """Settings of a stage: the defaults, changed by `settings` and by what was `chosen` otherwise.

        Raises:
            SettingsError: a field does not exist or its value is not allowed.
        """
        try:
            return kind(**{**self.settings.get(stage, {}), **chosen})
        except ValidationError as error:
            faults = "; ".join(
                f"{stage}.{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in error.errors())
            raise SettingsError(f"{faults}; settings of {stage} are {', '.join(kind.model_fields)}") from error


def _ingest(_: None, params: RetrainParams, origin: Origin, places: Settings) -> BaseModel:
    from pipelines.ingest import ingest
    from pipelines.releases.opening import open_store
    from pipelines.shop_spec import load_spec

    return ingest(params.source, params.window, load_spec(params.source, params.spec, params.as_of),
                  places.artifacts, open_store(places).erasures)


def _features(ingested: Ingested, params: RetrainParams, origin: Origin, places: Settings) -> BaseModel:
    from pipelines.features import FeatureSettings, features
    from pipelines.releases.opening import open_store

    return features(ingested, params.of_stage("features", FeatureSettings), places.artifacts,
                    open_store(places).erasures)


def _train(snapshot: Snapshot, params: RetrainParams, origin: Origin, places: Settings) -> BaseModel:
    from pipelines.train import train
    from pipelines.train_settings import TrainSettings

    chosen = {} if params.epochs is None else {"max_epochs": params.epochs}
    return train(snapshot, params.of_stage("train", TrainSettings, **chosen), places.artifacts, places.cluster)


def _evaluate(trained: Trained, params: RetrainParams, origin: Origin, places: Settings) -> BaseModel:
    from pipelines.evaluate import EvaluateSettings, evaluate
    from pipelines.releases.opening import open_store

    return evaluate(trained, open_store(places), params.of_stage("evaluate", EvaluateSettings), places.artifacts,
                    is_replay=params.replay)


def _register(evaluated: Evaluated, params: RetrainParams, origin: Origin, places: Settings) -> BaseModel:
    from pipelines.register import RegisterSettings, register

    return register(evaluated, origin, params.of_stage("register", RegisterSettings), places, places.artifacts,
                    is_replay=params.replay)


def _index(registered: Registered, params: RetrainParams, origin: Origin, places: Settings) -> BaseModel:
    from pipelines.index import IndexSettings, index

    return index(registered, params.of_stage("index", IndexSettings), places, places.artifacts)


def _gate(sealed: Sealed, params: RetrainParams, origin: Origin, places: Settings) -> BaseModel:
    from pipelines.gate import gate
    from pipelines.gate_rules import GateSettings

    return gate(sealed, params.of_stage("gate", GateSettings), places, places.artifacts)


def _promote(verdict: Verdict, params: RetrainParams, origin: Origin, places: Settings) -> BaseModel:
    from pipelines.promote import promote, reproduced

    if params.replay:
        return reproduced(verdict)
    return promote(verdict, origin, params.dry_run, places)


# Stage -> the contract it takes and the call; stages are imported when they run, for some take seconds.
_CHAIN: Mapping[str, tuple[type[BaseModel] | None, Callable[..., BaseModel]]] = {
    "ingest": (None, _ingest),
    "features": (Ingested, _features),
    "train": (Snapshot, _train),
    "evaluate": (Trained, _evaluate),
    "register": (Evaluated, _register),
    "index": (Registered, _index),
    "gate": (Sealed, _gate),
    "promote": (Verdict, _promote),
}
STAGES: tuple[str, ...] = tuple(_CHAIN)

_SETTINGS: Mapping[str, str] = {
    "features": "pipelines.features:FeatureSettings",
    "train": "pipelines.train_settings:TrainSettings",
    "evaluate": "pipelines.evaluate:EvaluateSettings",
    "register": "pipelines.register:RegisterSettings",
    "index": "pipelines.index:IndexSettings",
    "gate": "pipelines.gate_rules:GateSettings",
}


def check_settings(params: RetrainParams) -> None:
    """Refuse a wrong setting of any stage before the first one runs, and not after hours of training.

    Raises:
        SettingsError: a stage has no settings, or one of them does not exist or is not allowed.
    """
    for stage in params.settings:
        if stage not in _SETTINGS:
            raise SettingsError(f"{stage} has no settings; stages with settings are {', '.join(_SETTINGS)}")
        params.of_stage(stage, pkgutil.resolve_name(_SETTINGS[stage]))


def run_stage(
    name: str, upstream: Mapping[str, Any] | None, params: RetrainParams, origin: Origin, places: Settings
) -> dict[str, Any]:
    """Run one stage on the JSON contract of the stage before it and return its own as JSON.

    Raises:
        SettingsError: no stage has this name, or it was given no contract to start from.
        UpstreamErased: what it starts from was removed meanwhile; the run has to begin anew.
    """
    if name not in _CHAIN:
        raise SettingsError(f"there is no stage {name!r}; stages are {', '.join(STAGES)}")
    kind, call = _CHAIN[name]
    if kind is not None and upstream is None:
        raise SettingsError(f"{name} needs the result of the stage before it, a {kind.__name__}")
    taken = kind.model_validate(dict(upstream or {})) if kind is not None else None
    try:
        return call(taken, params, origin, places).model_dump(mode="json")
    except (OSError, CorruptArtifact) as error:
        gone = [artifact.path for artifact in _chain(taken) if not Path(artifact.path).exists()]
        if not gone or name == "promote":  # which needs the verdict and its bundle alone
            raise
        raise UpstreamErased(f"{name} starts from {', '.join(gone)}, which is not there any more: it held a person who "
                             "was erased, or was removed by hand; run the retrain anew, from ingest on") from error


def _chain(contract: BaseModel | None) -> Iterator[Artifact]:
    """A contract and those that it holds."""
    while isinstance(contract, Artifact):
        yield contract
        contract = next((value for _, value in contract if isinstance(value, Artifact)), None)


def upstream_of(name: str, folder: Path) -> dict[str, Any]:
    """The contract in `folder` as JSON, for the stage `name` that takes it.

    Raises:
        SettingsError: the stage takes no contract, or the folder is not a stage's result.
        CorruptArtifact: it is the result of another stage than the one before; the message says of which.
    """
    kind = _CHAIN[name][0]
    if kind is None or not issubclass(kind, Artifact):
        raise SettingsError(f"{name} takes no folder")
    if not (folder / CONTRACT).is_file():
        raise SettingsError(f"{folder} is not the result of a stage: {name} needs the folder of a {kind.__name__}, "
                            "which the stage before it printed")
    return load_contract(kind, folder).model_dump(mode="json")


def default_as_of(source: str, spec: str | None = None) -> datetime:
    """The first whole second after the last event, for a log that ended long ago; of a lake the end of its last day.

    Raises:
        DataError: the source cannot be read.
    """
    from pipelines.ingest import time_range
    from pipelines.lake import DAY, Lake, is_lake, midnight
    from pipelines.shop_spec import load_spec

    if is_lake(source):
        return midnight(Lake(Path(source)).partitions()[-1].day + DAY)
    _, last = time_range(source, load_spec(source, spec))
    return last.replace(microsecond=0) + timedelta(seconds=1)


def resolved(path: str) -> str:
    """A folder as an absolute path, so that a task finds it whatever its working directory; URLs stay."""
    return path if "://" in path else str(Path(path).expanduser().resolve())
