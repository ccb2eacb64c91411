"""A refresh that dies of SIGKILL at any of its steps, and then runs again, ends as one that was left alone."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts import Origin
from pipelines.refresh.run import RefreshParams, refresh_catalogue
from pipelines.releases.opening import open_store
from pipelines.settings import Settings
from serving.bundle import Bundle
from tests.refresh_world import items, release, write_shop

REPOSITORY = Path(__file__).resolve().parents[3]
# The step at which it dies, where it begins.
MOMENTS = [
    "pipelines.refresh.run::read_catalogue", "pipelines.refresh.bundle::extend_all", "pipelines.artifacts::sync_folder",
    "pipelines.refresh.run::judge", "pipelines.refresh.gate::ask", "serving.shelf:Shelf:add",
    "serving.store:ReleaseStore:commit", "serving.store:ReleaseStore:_append", "pipelines.refresh.run::follow",
]
KILLED = """
import importlib, json, os, signal, sys
from pipelines.contracts import Origin
from pipelines.refresh.run import RefreshParams, refresh_catalogue
from pipelines.settings import Settings

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

job = json.load(sys.stdin)
module, owner, name = job["moment"].split(":")
found = importlib.import_module(module)
setattr(getattr(found, owner) if owner else found, name, die)
refresh_catalogue(RefreshParams(**job["params"]), Origin(**job["origin"]), Settings(**job["places"]))
"""


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_run_again_it_ends_the_same(places: Settings, tmp_path: Path, moment: str) -> None:
    own = places.of_shop("toy")
    release(own)
    shop = write_shop(tmp_path / "toy", items({"i40": "green", "i41": "red"}))
    params, origin = RefreshParams(source=str(shop)), Origin(actor="tester", reason="spring")
    job = {"moment": moment, "params": params.model_dump(mode="json"), "origin": origin.model_dump(mode="json"),
           "places": places.model_dump(mode="json", exclude={"store_options"})}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", KILLED], input=json.dumps(job), text=True,
                          capture_output=True, cwd=REPOSITORY, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    store = open_store(own)
    was_released = store.numbers() == [1, 2]
    assert was_released is (moment == "pipelines.refresh.run::follow")
    for number in store.numbers():  # whatever is there is whole
        record = store.get(number)
        Bundle.load(store.bundle_path(record.bundle), record.bundle)
    outcome = refresh_catalogue(params, origin, places)
    assert (outcome.status, outcome.release) == ("unchanged" if was_released else "released", 2)
    assert store.numbers() == [1, 2] and store.get(2).bundle == outcome.bundle == clean(places, tmp_path, shop)


def clean(places: Settings, tmp_path: Path, shop: Path) -> str:
    """The bundle of a refresh that nobody disturbed, in an installation of its own."""
    elsewhere: dict[str, Any] = {"home": tmp_path / "clean", "artifacts": tmp_path / "clean/artifacts",
                                 "store": str(tmp_path / "clean/store")}
    undisturbed = places.model_copy(update=elsewhere)
    release(undisturbed.of_shop("toy"))
    return refresh_catalogue(RefreshParams(source=str(shop)), Origin(actor="tester"), undisturbed).bundle
