"""The log of experiments: at most one runs, whoever writes at the same moment."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.errors import CorruptArtifact
from serving.experiments.log import ExperimentConflict, ExperimentLog
from serving.experiments.spec import Spec, Variant
from serving.storage import open_storage

SPEC = Spec(name="spring", variants=(Variant(name="a"), Variant(name="b", weight=3)))
MONDAY, TUESDAY = datetime(2026, 11, 2, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> ExperimentLog:
    return ExperimentLog(open_storage(tmp_path))


def test_a_start_and_an_end_are_two_records(log: ExperimentLog) -> None:
    assert log.running() is None and log.newest() is None
    begun = log.start(SPEC, "anna", "why not", MONDAY)
    assert (begun.number, begun.version, begun.spec.salt) == (1, 1, "spring-1")
    assert log.running() == begun == log.get(1) == log.of(1)
    with pytest.raises(ExperimentConflict, match="'spring' runs since 2026-11-02"):
        log.start(SPEC, "ben", "me too", TUESDAY)
    ended = log.stop("ben", "enough", TUESDAY)
    assert (ended.number, ended.version, ended.ended_at, ended.ended_because) == (2, 1, TUESDAY, "enough")
    assert (ended.started_at, ended.spec) == (MONDAY, begun.spec)
    assert log.running() is None and log.of(1) == ended
    with pytest.raises(ExperimentConflict, match="no experiment runs"):
        log.stop("ben", "enough")
    # The same again is another experiment, whose users are assigned anew.
    again = log.start(SPEC, "anna", "once more")
    assert (again.version, again.spec.salt) == (3, "spring-3")
    with pytest.raises(ExperimentConflict, match="record 2 ends the experiment"):
        log.of(2)
    assert log.of(3) == again


def test_of_many_starts_at_once_one_is_taken(tmp_path: Path) -> None:
    gate, told = threading.Barrier(6), []

    def start(name: str) -> None:
        own = ExperimentLog(open_storage(tmp_path))
        gate.wait()
        try:
            told.append(own.start(SPEC.model_copy(update={"name": name}), "anna", "race").spec.name)
        except ExperimentConflict:
            told.append(None)

    threads = [threading.Thread(target=start, args=(f"e{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [name for name in told if name is not None]
    log = ExperimentLog(open_storage(tmp_path))
    assert len(told) == 6 and len(winners) == 1
    assert log.numbers() == [1] and log.get(1).spec.name == winners[0]


@pytest.mark.parametrize("damage", [
    lambda text: text[: len(text) // 2], lambda text: text.replace("spring", "summer"), lambda text: "{}"])
def test_a_damaged_record_is_named(tmp_path: Path, log: ExperimentLog, damage) -> None:
    log.start(SPEC, "anna", "why not")
    path = tmp_path / "experiments" / "00000001.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(CorruptArtifact, match=r"00000001\.json is torn or was changed"):
        log.running()


def test_a_record_under_another_number_and_a_missing_one_are_named(tmp_path: Path, log: ExperimentLog) -> None:
    log.start(SPEC, "anna", "why not")
    path = tmp_path / "experiments" / "00000001.json"
    path.rename(path.with_name("00000002.json"))
    with pytest.raises(CorruptArtifact, match="says that it is record 1"):
        log.running()
    with pytest.raises(CorruptArtifact, match="is missing"):
        log.get(1)
