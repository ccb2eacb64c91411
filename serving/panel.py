"""The panel of a bundle: a few histories of nobody in particular, so that any two bundles can be compared.

panel.json holds some dozens of histories by item ids, event types and seconds before the asking, without user ids
or user features. Years later, with the lake long gone, it still says what a bundle recommends and how much of that
another one replaced.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError, model_validator

from pipelines.contracts import Document
from pipelines.errors import BundleRefused, CorruptArtifact
from serving.bundle_files import PANEL
from serving.probe import NamedRequest
from serving.strict_read import read_document

_SECOND_US = 1_000_000


class Shopper(Document):
    """One history, oldest event first; the four belong together, event by event.

    Attributes:
        items: item ids.
        types: names of event types.
        weights: 0 where an event is no sign of taste.
        seconds_before: how long before the asking.
    """

    items: tuple[str, ...]
    types: tuple[str, ...]
    weights: tuple[float, ...]
    seconds_before: tuple[int, ...]

    @model_validator(mode="after")
    def _belong_together(self) -> "Shopper":
        sizes = {len(self.items), len(self.types), len(self.weights), len(self.seconds_before)}
        if len(sizes) > 1:
            raise ValueError(f"a history has parts of {sorted(sizes)} events")
        if any(later > earlier for earlier, later in zip(self.seconds_before, self.seconds_before[1:], strict=False)):
            raise ValueError("a history's times go back")
        return self


NOBODY = Shopper(items=(), types=(), weights=(), seconds_before=())


class Panel(Document):
    """Histories to ask bundles with."""

    format: int = 1
    shoppers: tuple[Shopper, ...] = Field(default=())

    @classmethod
    def load(cls, folder: Path) -> "Panel":
        """The panel of a bundle; one without shoppers where it was made before there were panels.

        Raises:
            BundleRefused: panel.json is not one.
        """
        if not (folder / PANEL).exists():
            return cls()
        try:
            return cls.model_validate(read_document(folder / PANEL))
        except (ValidationError, CorruptArtifact) as error:
            raise BundleRefused(f"{folder / PANEL} is no panel: {error}; run the index stage again") from error

    def without(self, is_hidden: Callable[[Shopper], bool]) -> "Panel":
        """The panel without some histories, such as those of people who were erased since."""
        return self.model_copy(update={"shoppers": tuple(one for one in self.shoppers if not is_hidden(one))})

    def known_to(self, items: set[str]) -> "Panel":
        """The panel without the events of other items, and without the histories that are empty then."""
        shoppers = []
        for one in self.shoppers:
            at = [i for i, item in enumerate(one.items) if item in items]
            if at:
                shoppers.append(Shopper(**{name: tuple(values[i] for i in at) for name, values in one}))
        return self.model_copy(update={"shoppers": tuple(shoppers)})

    def requests(self, user_slots: int) -> list[NamedRequest]:
        """One request a history, from somebody of whom no feature is known. Only differences of times matter."""
        nobody = np.zeros(user_slots, np.int32)
        return [
            NamedRequest(np.array(one.items, np.str_), -_SECOND_US * np.array(one.seconds_before, np.int64),
                         np.array(one.types, np.str_), np.array(one.weights, np.float32), 0, nobody)
            for one in self.shoppers
        ]
