"""Batches of a log that may be larger than memory.

A first pass counts what each block of users holds. An epoch reads windows, each of blocks from all over the log and
as large as a budget allows, and shuffles within them. What is resident is the window, not the log.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from models.batches import WHOLE, Batch, Share, assemble, cut, plan
from models.visits import Visits, runs_of_users
from models.window import Window, give_back
from pipelines.snapshot import SnapshotData

_BLOCKS_A_WINDOW = 16  # a window mixes at least so many parts of the log
_BLOCK_EVENTS = 1_000_000  # looking for first meetings sorts a block, with some 40 bytes an event
_EVENT_BYTES = 90  # at the worst, where each event is a visit and a user of its own

# Axis of each array of visits, and what its values count where they point into another axis.
_AXIS = {"event_ptr": "visits", "time": "visits", "user_ptr": "users", "user": "users"}
_POINTS_AT = {"event_ptr": "events", "user_ptr": "visits"}


@dataclass(frozen=True)
class Block:
    """Consecutive users first <= u < last, and what they hold."""

    first: int
    last: int
    events: int
    visits: int
    targets: int
    sequences: int
    slots: int  # of all sequences, without padding

    @property
    def users(self) -> int:
        """Rows of the user table."""
        return self.last - self.first

    @property
    def nbytes(self) -> int:
        """Memory of the block once it is read, cut into sequences and ordered."""
        return 15 * self.events + 16 * self.visits + 12 * self.users + 64 * self.sequences


@dataclass(frozen=True)
class VisitLog:
    """All training visits of a snapshot: what its blocks hold, and the way to read them."""

    data: SnapshotData
    window: Window
    blocks: tuple[Block, ...]
    memory: int  # bytes that the blocks of one window may take

    @classmethod
    def of(cls, data: SnapshotData, slots: int, memory_mb: int = 512) -> "VisitLog":
        """Count the blocks of a log, in two passes over it.

        Args:
            data: the snapshot.
            slots: L, visits that a sequence's inputs fill.
            memory_mb: MiB of visits that are held and shuffled at once. A user is never divided.
        """
        memory = memory_mb << 20
        window = Window.of(data)
        blocks = []
        for first, last in runs_of_users(data, _block_events(memory)):
            visits = Visits.of_users(data, first, last, window)
            give_back(data)
            sequences = cut(visits, slots)
            blocks.append(Block(first, last, len(visits.item), len(visits.time), int(visits.is_new.sum()),
                                len(sequences), int((sequences.last - sequences.first + 1).sum())))
        return cls(data, window, tuple(blocks), memory)

    def total(self, count: str) -> int:
        """Sum of one of the blocks' counts: events, visits, targets, sequences or slots."""
        return sum(getattr(block, count) for block in self.blocks)

    def windows(self, rng: np.random.Generator) -> Iterator[Visits]:
        """The visits of all users, in windows of random blocks that take at most the log's memory each."""
        chosen: list[Block] = []
        for number in rng.permutation(len(self.blocks)):
            block = self.blocks[number]
            if chosen and sum(b.nbytes for b in chosen) + block.nbytes > self.memory:
                yield self.read(chosen)
                chosen = []
            chosen.append(block)
        if chosen:
            yield self.read(chosen)

    def read(self, blocks: Sequence[Block]) -> Visits:
        """Visits of the users of some blocks, in the order of the user table."""
        total = {axis: sum(getattr(b, axis) for b in blocks) for axis in ("events", "visits", "users")}
        at = dict.fromkeys(total, 0)
        whole: dict[str, npt.NDArray[Any]] = {}
        for block in sorted(blocks, key=lambda block: block.first):
            part = Visits.of_users(self.data, block.first, block.last, self.window)
            give_back(self.data)
            for name in (field.name for field in fields(Visits)):
                array, axis = getattr(part, name), _AXIS.get(name, "events")
                if name in _POINTS_AT:
                    array = array + at[_POINTS_AT[name]]
                if name not in whole:
                    whole[name] = np.zeros(total[axis] + (name in _POINTS_AT), array.dtype)
                whole[name][at[axis] : at[axis] + len(array)] = array
            for axis in at:
                at[axis] += getattr(block, axis)
        return Visits(**whole)


@dataclass(frozen=True)
class Stream:
    """The batches of a training: the same ones for the same seed and epoch, from whichever batch on."""

    log: VisitLog
    slots: int  # L, visits that a sequence's inputs fill
    event_types: int
    slots_a_batch: int
    seed: int
    share: Share = WHOLE
    with_later: bool = False  # whether what a sequence asks for later takes no part in a question
    calendar: int | None = None  # the first of the calendar's tokens, None where the towers know none

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Batches of epoch `number` but for the first `skip`; see `models.batches.assemble`."""
        rng = np.random.default_rng((self.seed, number))
        for visits in self.log.windows(rng):
            sequences = cut(visits, self.slots)
            batches = plan(visits, sequences, self.slots_a_batch, rng, self.with_later)
            for rows in batches[skip:]:
                yield assemble(visits, sequences.part(rows), self.log.data.user_tokens, self.event_types, self.share,
                               self.with_later, self.calendar)
            skip = max(skip - len(batches), 0)
            del visits, sequences, batches  # before the next window is read


def _block_events(memory: int) -> int:
    return int(np.clip(memory // (_EVENT_BYTES * _BLOCKS_A_WINDOW), 1, _BLOCK_EVENTS))
