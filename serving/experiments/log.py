"""The log of experiments beside the release log: at most one runs, and nothing that was written changes.

    experiments/00000001.json    a start or an end, written with put-if-absent; the highest number says what runs
"""

import re
from datetime import UTC, datetime

from pipelines.errors import CorruptArtifact, VitrineError
from serving.experiments.spec import Record, Spec
from serving.release import sealed, unsealed
from serving.storage import Storage

EXPERIMENTS = "experiments"
_RECORD = re.compile(r"\d{8}\.json")


class ExperimentConflict(VitrineError):
    """An experiment runs where none may, or none does where one is to be ended."""

    exit_status = 2
    is_retryable = False


class ExperimentLog:
    """Starts, ends and reads experiments of one store."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def numbers(self) -> list[int]:
        """Numbers of all records, ascending."""
        names = (entry.key.rsplit("/", 1)[-1] for entry in self._storage.entries(EXPERIMENTS))
        return sorted(int(name[:8]) for name in names if _RECORD.fullmatch(name))

    def get(self, number: int) -> Record:
        """One record.

        Raises:
            CorruptArtifact: it is missing, torn or changed; the message names the file.
        """
        where = f"{self._storage.root}/{_key(number)}"
        try:
            record = unsealed(Record, "experiment", self._storage.read(_key(number)), where)
        except FileNotFoundError as error:
            raise CorruptArtifact(f"experiment record {where} is missing; restore it from a backup of the store") from (
                error)
        if record.number != number:
            raise CorruptArtifact(f"experiment record {where} says that it is record {record.number}; restore it from "
                                  "a backup of the store")
        return record

    def newest(self) -> Record | None:
        """The last record: a start of what runs, or an end."""
        numbers = self.numbers()
        return self.get(numbers[-1]) if numbers else None

    def running(self) -> Record | None:
        """What runs, or none."""
        newest = self.newest()
        return newest if newest is not None and newest.ended_at is None else None

    def of(self, version: int) -> Record:
        """The last record of the experiment that record `version` started: its end, where it has one.

        Raises:
            CorruptArtifact: see `get`.
            ExperimentConflict: record `version` starts none.
        """
        started = self.get(version)
        if started.ended_at is not None:
            raise ExperimentConflict(f"record {version} ends the experiment that record {started.version} started: "
                                     f"name {started.version}")
        return self.get(version + 1) if version + 1 in self.numbers() else started

    def start(self, spec: Spec, actor: str, reason: str, now: datetime | None = None) -> Record:
        """Start an experiment.

        Raises:
            ExperimentConflict: another one runs, or was started at the same moment.
        """
        newest = self.newest()
        if newest is not None and newest.ended_at is None:
            raise ExperimentConflict(f"{self._storage.root}: experiment {newest.spec.name!r} runs since "
                                     f"{newest.started_at:%Y-%m-%d %H:%M}: stop it first")
        number = (newest.number if newest is not None else 0) + 1
        salted = spec.model_copy(update={"salt": spec.salt or f"{spec.name}-{number}"})
        return self._append(Record(number=number, version=number, spec=salted, started_by=actor, reason=reason,
                                   started_at=now or datetime.now(UTC)))

    def stop(self, actor: str, reason: str, now: datetime | None = None) -> Record:
        """End what runs.

        Raises:
            ExperimentConflict: nothing runs, or it was ended at the same moment.
        """
        running = self.running()
        if running is None:
            raise ExperimentConflict(f"{self._storage.root}: no experiment runs")
        return self._append(running.model_copy(update={
            "number": running.number + 1, "ended_at": now or datetime.now(UTC), "ended_by": actor,
            "ended_because": reason}))

    def _append(self, record: Record) -> Record:
        record = Record.model_validate(record.model_dump())
        if not self._storage.create(_key(record.number), sealed("experiment", record)):
            raise ExperimentConflict(f"{self._storage.root}: somebody else has written record {record.number} at the "
                                     "same moment: look at what runs, then try again")
        return record


def _key(number: int) -> str:
    return f"{EXPERIMENTS}/{number:08d}.json"
