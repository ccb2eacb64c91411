"""A fault at every sub-step of every stage, then a retry: it ends as a clean run ends, and nothing half is seen."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines import tracking
from pipelines.artifacts import verify
from pipelines.contracts import Origin
from pipelines.retrain import STAGES, RetrainParams
from pipelines.settings import Settings
from serving.store import ReleaseStore
from tests.faults.conftest import Sweep
from tests.faults.stage_points import KINDS
from tests.pipelines.test_stages import SETTINGS
from tests.world import write_world

REPOSITORY = Path(__file__).resolve().parents[2]
ORIGIN = Origin(actor="tester", reason="weekly")
SECONDS = 600  # that a stage of the toy shop may take on a busy machine


@dataclass
class Stages:
    """The toy shop's retrain, stage by stage: the state before each, and what the clean run made of it."""

    server: "subprocess.Popen[str]"
    root: Path
    params: RetrainParams
    places: Settings
    contracts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    points: dict[str, list[str]] = field(default_factory=dict)
    ends: dict[str, Any] = field(default_factory=dict)  # stage -> state after it

    def run(self, stage: str, fault: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One stage in a process of its own."""
        before = STAGES.index(stage) - 1
        job = {"stage": stage, "upstream": self.contracts[STAGES[before]] if before >= 0 else None, "fault": fault,
               "params": self.params.model_dump(mode="json"), "origin": ORIGIN.model_dump(), "seconds": SECONDS,
               "places": self.places.model_dump(mode="json", exclude={"store_options", "sessions"})}
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(job) + "\n")
        self.server.stdin.flush()
        return dict(json.loads(self.server.stdout.readline()))

    def keep(self, stage: str) -> None:
        """Remember the state before a stage."""
        self.places.home.mkdir(exist_ok=True)
        shutil.copytree(self.places.home, self.root / "before" / stage)

    def put_back(self, stage: str) -> None:
        """Be again where the clean run was before a stage, at the very same paths."""
        shutil.rmtree(self.places.home)
        shutil.copytree(self.root / "before" / stage, self.places.home)

    def state(self, stage: str) -> dict[str, Any]:
        """What a reader sees; everything sealed and everything released is checked to the byte.

        What trained twice is not the same bytes: a SavedModel holds generated names.
        """
        sealed = {}
        for name in STAGES[: STAGES.index(stage) + 1]:
            for folder in (self.places.artifacts / name).glob("[!.]*"):
                verify(folder)
                content = json.loads((folder / "contract.json").read_text())["contract"]
                sealed[f"{name}/{folder.name}"] = None if name == "train" else content["digest"]
        store = ReleaseStore(self.places.store)
        releases = []
        for release in store.history():
            store.shelf.check(release.bundle)
            releases.append((release.number, release.parent, release.bundle))
        return {"sealed": sealed, "releases": releases, **self.recorded()}

    def recorded(self) -> dict[str, Any]:
        """What MLflow's database holds: versions, aliases, and how many runs and models are in which state."""
        path = self.places.home / "mlflow.db"
        if not path.exists():
            return {"versions": [], "aliases": [], "runs": {}, "models": {}}
        with closing(sqlite3.connect(path)) as database:
            def rows(query: str) -> list[tuple[Any, ...]]:
                return sorted(database.execute(query).fetchall())

            return {
                "versions": rows("select name, version from model_versions"),
                "aliases": rows("select alias, version from registered_model_aliases"),
                "runs": dict(Counter(rows("select name, status from runs"))),
                "models": dict(Counter(rows("select status from logged_models"))),
            }


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    root = tmp_path_factory.mktemp("stages")
    home = root / "home"
    shop = write_world(root / "shop", users=60)
    # One training instead of four, and of next to nothing: what is tried here is what stands around it.
    small = {"max_epochs": 1, "steps": 2, "members": 1, "search": {"text_dimension": 16, "steps": 4, "batch": 32}}
    settings = {**SETTINGS, "train": {**SETTINGS["train"], **small}}
    params = RetrainParams(source=str(shop), as_of=datetime(2026, 1, 25, tzinfo=UTC), settings=settings)
    places = Settings(home=home, artifacts=home / "artifacts", store=home / "store",
                      mlflow_uri=f"sqlite:///{home / 'mlflow.db'}")
    scratch = root / "scratch"
    scratch.mkdir()
    # An experiment made anew would be another one, with other keys: the identity of MLflow's store is part of them.
    tracking.identity(places)
    with (root / "server.log").open("w") as log, subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.faults.stage_server", str(scratch)], cwd=REPOSITORY, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
        env={"CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin:/bin", "HOME": str(root), "TMPDIR": str(scratch)},
    ) as server:
        assert server.stdout is not None
        assert json.loads(server.stdout.readline())["ready"]
        stages = Stages(server, root, params, places)
        for stage in STAGES:
            stages.keep(stage)
            clean = stages.run(stage)
            assert clean["how"] == "done", clean.get("error")
            stages.contracts[stage], stages.points[stage] = clean["contract"], clean["points"]
            stages.ends[stage] = stages.state(stage)
        yield stages
        assert server.stdin is not None
        server.stdin.close()
    shutil.rmtree(root, ignore_errors=True)


def chosen(points: list[str], begin: int, count: int) -> list[tuple[str, int]]:
    """Passings of points: `count` of them spread over the stage from its point `begin` on, then all others.

    Every point is taken before any of them a second time.
    """
    seen: Counter[str] = Counter()
    passings = []
    for name in points:
        seen[name] += 1
        passings.append((name, seen[name]))
    passings.sort(key=lambda passing: passing[1])  # stable: first passings in the order of the stage, then second ones
    distinct = len(seen)
    first = [passings[(number * distinct // min(count, distinct) + begin) % distinct]
             for number in range(min(count, distinct))]
    return first + [passing for passing in passings if passing not in first]


def without_places(contract: Any) -> Any:
    """A contract chain, wherever its folders lie, and whatever number MLflow drew for a run."""
    if isinstance(contract, Mapping):
        return {name: without_places(value) for name, value in contract.items() if name not in ("path", "run_id")}
    return contract


def fault_and_retry(stages: Stages, stage: str, point: str, occurrence: int, kind: str) -> bool:
    """Inject a fault, look at what is seen after it, and run the stage again; whether the fault was met."""
    number, clean = STAGES.index(stage), stages.ends[stage]
    stages.put_back(stage)
    fault = {"point": point, "occurrence": occurrence, "kind": kind}
    came = stages.run(stage, fault)
    assert came["how"] != "late", fault
    found = stages.state(stage)  # nothing half: every folder that is seen is whole, every release too
    assert found["releases"] in (clean["releases"], stages.ends[STAGES[number - 1]]["releases"] if number else []), (
        fault, found)
    again = stages.run(stage)
    assert again["how"] == "done", (fault, again)
    if stage == "train":
        assert again["contract"]["key"] == stages.contracts[stage]["key"]
    else:
        assert without_places(again["contract"]) == without_places(stages.contracts[stage]), fault
    assert stages.state(stage) == clean, fault
    return bool(came["was_hit"])


@pytest.mark.parametrize("stage", STAGES)
def test_a_fault_anywhere_and_a_retry_end_as_a_clean_run(sweep: Sweep, stages: Stages, stage: str) -> None:
    number, hit, points, missed = STAGES.index(stage), Counter[str](), set[str](), 0
    kinds = KINDS if sweep.is_full else (KINDS[number % len(KINDS)],)
    wanted = sweep.size(1, 20)
    for place, kind in enumerate(kinds):
        # Threads and processes beside pass a point in another order, or once less: what was not hit does not count.
        passings = chosen(stages.points[stage], 7 * place + 3 * number, wanted)
        for point, occurrence in passings[: 2 * wanted + 3]:
            if hit[kind] == wanted:
                break
            is_hit = fault_and_retry(stages, stage, point, occurrence, kind)
            hit[kind] += is_hit
            missed += not is_hit
            points |= {point} if is_hit else set()
    # And each sub-step that was left out, once, by one kind after another.
    left = [point for point in dict.fromkeys(stages.points[stage]) if point not in points] if sweep.is_full else []
    for place, point in enumerate(left):
        is_hit = fault_and_retry(stages, stage, point, 1, KINDS[place % len(KINDS)])
        missed += not is_hit
        points |= {point} if is_hit else set()
    sweep.count(stage=stage, sub_steps=len(set(stages.points[stage])), hit_at=len(points), missed=missed,
                further=len(left), **{kind: count for kind, count in hit.items()})
    assert {kind: hit[kind] for kind in kinds} == dict.fromkeys(kinds, wanted)


def test_there_are_enough_sub_steps_to_speak_of_every_one(sweep: Sweep, stages: Stages) -> None:
    names = {stage: set(points) for stage, points in stages.points.items()}
    sweep.count(sub_steps=len({(stage, name) for stage, found in names.items() for name in found}))
    assert sum(map(len, names.values())) >= 30
    assert min(map(len, names.values())) >= 5
