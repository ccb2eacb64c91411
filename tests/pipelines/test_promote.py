"""Promotion: refused verdicts never release, repeated ones release once, a dry run writes nothing."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.artifacts import seal, stage_key
from pipelines.contracts import Origin, Verdict
from pipelines.errors import BundleRefused, CorruptArtifact, GateRejected, ReleaseConflict
from pipelines.gate import at_least
from pipelines.index import IndexSettings, index
from pipelines.promote import promote
from pipelines.settings import Settings
from serving.bundle import Bundle
from serving.store import ReleaseStore
from tests.release_world import AS_OF, make_registered

ORIGIN = Origin(actor="tester", reason="weekly")
REPOSITORY = Path(__file__).resolve().parents[2]


def judge(root: Path, places: Settings, accepted: bool = True, **world) -> Verdict:
    """A verdict as the gate seals it, without the gate's trial."""
    sealed = index(make_registered(root, **world), IndexSettings(), places, root)
    check = at_least("recall@10", 0.2 if accepted else 0.001, 0.01, "absolute floor")

    def build(out: Path) -> dict[str, Any]:
        (out / "verdict.html").write_text("<p>recall@10</p>")
        return {"sealed": sealed, "accepted": accepted, "checks": (check,)}

    return seal(Verdict, root, "gate", stage_key("gate", sealed.digest, accepted), build)


def test_an_accepted_bundle_becomes_the_live_release(tmp_path: Path, places: Settings, told: list) -> None:
    verdict = judge(tmp_path, places)
    released = promote(verdict, ORIGIN, False, places)
    store = ReleaseStore(places.store)
    live = store.live()
    assert live is not None
    assert (released.number, released.parent, released.is_dry_run) == (1, None, False)
    assert (live.number, live.bundle, live.actor, live.reason) == (1, verdict.sealed.digest, "tester", "weekly")
    assert (live.verdict, live.run_id, live.model_version) == (verdict.digest, "r1", "1")
    assert live.training == verdict.sealed.registered.evaluated.trained.digest
    assert live.metrics["recall@10"] == 0.2
    assert Bundle.load(store.bundle_path(live.bundle), live.bundle).num_items == 40
    assert told[-1][0] == "promoted"
    assert told[-1][1][0] == live


def test_a_repeated_promotion_gives_the_same_record(tmp_path: Path, places: Settings) -> None:
    verdict = judge(tmp_path, places)
    first = promote(verdict, ORIGIN, False, places)
    record = (Path(places.store) / "releases/00000001.json").read_bytes()
    assert promote(verdict, Origin(actor="a retry"), False, places) == first
    assert (Path(places.store) / "releases/00000001.json").read_bytes() == record
    assert len(ReleaseStore(places.store).history()) == 1


def test_a_refused_verdict_is_never_released(tmp_path: Path, places: Settings) -> None:
    verdict = judge(tmp_path, places, accepted=False)
    with pytest.raises(GateRejected, match=r"recall@10: 0\.0010 is below 0\.0100") as error:
        promote(verdict, ORIGIN, False, places)
    assert error.value.exit_status == 3
    assert not Path(places.store).exists()


def test_a_dry_run_writes_nothing_and_says_what_would_be(tmp_path: Path, places: Settings, told: list, caplog) -> None:
    verdict = judge(tmp_path, places)
    calls = len(told)
    with caplog.at_level("INFO", "vitrine"):
        released = promote(verdict, ORIGIN, True, places)
    assert (released.number, released.is_dry_run) == (1, True)
    assert "would write release 1" in caplog.text
    assert not Path(places.store).exists()
    assert len(told) == calls


def test_a_challenger_that_was_overtaken_is_a_conflict(tmp_path: Path, places: Settings) -> None:
    first, late = judge(tmp_path, places, epochs=1), judge(tmp_path, places, epochs=2)
    promote(first, ORIGIN, False, places)
    for is_dry_run in (True, False):
        with pytest.raises(ReleaseConflict, match="judge it again"):
            promote(late, ORIGIN, is_dry_run, places)
    assert len(ReleaseStore(places.store).history()) == 1


def test_older_data_is_released_only_by_force(tmp_path: Path, places: Settings) -> None:
    promote(judge(tmp_path, places), ORIGIN, False, places)
    older = judge(tmp_path, places, as_of=AS_OF - timedelta(hours=1), parent=1, champion="c" * 64)
    with pytest.raises(ReleaseConflict, match="would replace data up to"):
        promote(older, ORIGIN, False, places)
    assert promote(older, ORIGIN, False, places, is_forced=True).number == 2
    live = ReleaseStore(places.store).live()
    assert live is not None
    assert live.is_forced


def test_a_changed_verdict_or_bundle_is_not_released(tmp_path: Path, places: Settings) -> None:
    verdict = judge(tmp_path, places)
    page = Path(verdict.path) / "verdict.html"
    content = page.read_bytes()
    page.write_bytes(b"")
    with pytest.raises(CorruptArtifact, match=r"verdict\.html"):
        promote(verdict, ORIGIN, False, places)
    page.write_bytes(content)
    (Path(verdict.sealed.path) / "spec.json").write_text("{}")
    for is_dry_run in (True, False):
        with pytest.raises(BundleRefused, match=r"spec\.json"):
            promote(verdict, ORIGIN, is_dry_run, places)
    assert ReleaseStore(places.store).live() is None


KILLED = """
import os, signal, sys
from pathlib import Path
import serving.local_storage, serving.store
from pipelines.artifacts import load_contract
from pipelines.contracts import Origin, Verdict
from pipelines.promote import promote
from pipelines.settings import Settings
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(serving.local_storage.LocalStorage, sys.argv[3], die)
places = Settings(home=Path("."), artifacts=Path("."), store=Path(sys.argv[2]), mlflow_uri="sqlite:///none")
promote(load_contract(Verdict, sys.argv[1]), Origin(actor="killed"), False, places)
"""


@pytest.mark.parametrize(("moment", "is_acknowledgeable"), [("create", False), ("settle", True)])
def test_killed_midway_and_run_again_ends_in_one_release(tmp_path, places, moment, is_acknowledgeable) -> None:
    verdict = judge(tmp_path, places)
    command = [sys.executable, "-c", KILLED, verdict.path, str(places.store), moment]
    killed = subprocess.run(command, cwd=REPOSITORY, env={**os.environ}, check=False)
    assert killed.returncode == -signal.SIGKILL
    live = ReleaseStore(places.store).live()
    assert (live is not None) == is_acknowledgeable
    released = promote(verdict, ORIGIN, False, places)
    history = ReleaseStore(places.store).history()
    assert [release.number for release in history] == [released.number] == [1]
    assert history[0].actor == ("killed" if is_acknowledgeable else "tester")
