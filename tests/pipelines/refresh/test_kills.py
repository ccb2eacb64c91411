"""A refresh that dies of SIGKILL at any of its steps, and then runs again, ends as one that was left alone."""

import json
import signal
import subprocess
import sys
from pathlib import Path

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
    "pipelines.refresh.bundle::extend_all", "pipelines.artifacts::sync_folder", "pipelines.refresh.gate::ask",
    "serving.shelf:Shelf:add", "serving.store:ReleaseStore:_append", "pipelines.refresh.run::follow",
]
ENDED: set[str] = set()  # bundles of the tests of this module
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
    assert store.numbers() == [1, 2] and store.get(2).bundle == outcome.bundle
    # The bundle is the same wherever it died, and that of a refresh that nobody disturbed.
    ENDED.add(outcome.bundle)
    if moment == MOMENTS[0]:
        undisturbed = places.model_copy(update={"artifacts": tmp_path / "clean/artifacts",
                                                "store": str(tmp_path / "clean/store")})
        release(undisturbed.of_shop("toy"))
        ENDED.add(refresh_catalogue(params, Origin(actor="somebody else"), undisturbed).bundle)
    assert len(ENDED) == 1
