"""Checkpoints of a training: whole or invisible, checked before they are read, a folder for each attempt.

    <folder>/<attempt>/checkpoint-000001234/   weights.index, weights.data-..., state.json, manifest.json

An attempt writes into its own folder and reads from all, so that a stale attempt and its retry never write to the
same place. The manifest (SHA-256 of each file) is written last, and a rename makes the checkpoint visible.
"""

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.legacy_keras import tf
from pipelines.artifacts import FORMAT, MANIFEST, folder_files, read_json, sync_folder, sync_parent, verify, write_json
from pipelines.errors import CorruptArtifact, VitrineError
from pipelines.progress import log

_STATE = "state.json"
_WEIGHTS = "weights"
_KEPT = 2  # where the newest turns out to be damaged, there is one before it

Tensors = Mapping[str, Sequence[tf.Variable]]


@dataclass(frozen=True)
class Saved:
    """A checkpoint whose files are as they were written."""

    path: Path
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one piece of work.

    Args:
        folder: of all its attempts.
        identity: what the work is: a checkpoint of another one is left alone.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder, self.identity = folder, identity
        self.own = folder / uuid.uuid4().hex[:12]
        self.own.mkdir(parents=True)

    def save(self, order: int, state: Mapping[str, Any], tensors: Tensors) -> None:
        """Write a checkpoint and remove this attempt's older ones, but for one.

        Args:
            order: place among the checkpoints of all attempts; one that this attempt has written stays.
            state: JSON that `newest` gives back.
            tensors: variables by group, in an order that another process has too.

        Raises:
            VitrineError: the folder of this attempt has been removed.
        """
        partial, final = self.own / ".partial", self.own / f"checkpoint-{order:09d}"
        if final.exists():
            return
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir()
        except FileNotFoundError as error:
            raise VitrineError(f"{self.own} is gone, so another attempt has finished this training and cleaned up; "
                               "run the stage again to get its result") from error
        tf.train.Checkpoint(**_lists(tensors)).write(str(partial / _WEIGHTS))
        write_json(partial / _STATE, {"identity": self.identity, "shapes": _shapes(tensors), "state": dict(state)})
        write_json(partial / MANIFEST, {"format": FORMAT, "stage": "train", "files": folder_files(partial)})
        sync_folder(partial)
        os.rename(partial, final)
        sync_parent(final)
        for old in sorted(self.own.glob("checkpoint-*"))[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def newest(self) -> Saved | None:
        """The checkpoint of the highest order, of any attempt, whose files are whole; None where there is none.

        One that is damaged or of another work is left out with a warning.
        """
        found = sorted(self.folder.glob("*/checkpoint-*"), key=lambda path: (path.name, path.parent.name), reverse=True)
        for path in found:
            try:
                verify(path)
                document = read_json(path / _STATE)
            except (CorruptArtifact, OSError) as error:
                log.warning("train: a checkpoint is damaged and left out: %s", error)
                continue
            if document["identity"] == self.identity:
                return Saved(path, document["state"])
            log.warning("train: %s is of another training (settings or snapshot differ) and left out", path)
        if found:
            log.warning("train: none of %d checkpoints in %s can be used", len(found), self.folder)
        return None

    @staticmethod
    def restore(saved: Saved, tensors: Tensors) -> bool:
        """Read a checkpoint into the variables; False, and nothing changed, where their shapes have changed since."""
        before, now = read_json(saved.path / _STATE)["shapes"], _shapes(tensors)
        if before != now:
            log.warning("train: %s has other weights than this version of the model and is left out", saved.path)
            return False
        tf.train.Checkpoint(**_lists(tensors)).read(str(saved.path / _WEIGHTS)).assert_consumed()
        return True


def _lists(tensors: Tensors) -> dict[str, list[tf.Variable]]:
    return {name: list(group) for name, group in tensors.items()}


def _shapes(tensors: Tensors) -> dict[str, list[list[Any]]]:
    return {name: [[v.dtype.name, *v.shape.as_list()] for v in group] for name, group in tensors.items()}
