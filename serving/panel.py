"""The panel of a bundle: a few histories of nobody in particular, so that any two bundles can be compared.

panel.json holds some dozens of histories by item ids, event types and seconds before the asking, without user ids
or user features. Years later, with the lake long gone, it still says what a bundle recommends and how much of that
another one replaced. `python -m serving.panel BUNDLE PANEL.json K` answers it in a process of its own.
"""

import json
import sys
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError, model_validator

from pipelines.artifacts import read_json
from pipelines.contracts import Document
from pipelines.errors import BundleRefused, VitrineError
from serving.bundle import PANEL, Bundle
from serving.encoding import History
from serving.probe import REFUSED
from serving.recommender import Recommender, Request

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
            return cls.model_validate(read_json(folder / PANEL))
        except ValidationError as error:
            raise BundleRefused(f"{folder / PANEL} is no panel: {error}; run the index stage again") from error

    def known_to(self, items: set[str]) -> "Panel":
        """The panel without the events of other items, and without the histories that are empty then."""
        shoppers = []
        for one in self.shoppers:
            at = [i for i, item in enumerate(one.items) if item in items]
            if at:
                shoppers.append(Shopper(**{name: tuple(values[i] for i in at) for name, values in one}))
        return self.model_copy(update={"shoppers": tuple(shoppers)})

    def requests(self, bundle: Bundle) -> list[Request]:
        """One request a history, in the bundle's own rows; what the bundle does not know is left out."""
        types = {name: number for number, name in enumerate(bundle.spec["event_types"])}
        found = []
        for one in self.shoppers:
            events = [event for event in zip(*(values for _, values in one), strict=True)
                      if event[0] in bundle.rows and event[1] in types]
            # Asked at time 0: only differences of times have a meaning.
            history = History(
                np.array([bundle.rows[item] for item, *_ in events], np.int32),
                np.array([-seconds * _SECOND_US for *_, seconds in events], np.int64),
                np.array([types[kind] for _, kind, *_ in events], np.int16),
                np.array([weight for *_, weight, _ in events], np.float32))
            found.append(Request(history, 0, np.zeros(bundle.limits.user_slots, np.int32)))
        return found


def main(folder: str, panel_path: str, k: str) -> int:
    """Print {"lists": [[item id, ...], ...]}, for nobody and then for each shopper of the panel."""
    try:
        bundle = Bundle.load(folder)
        panel = Panel.model_validate(read_json(Path(panel_path)))
        asked = panel.model_copy(update={"shoppers": (NOBODY, *panel.shoppers)}).requests(bundle)
        answers = Recommender(bundle).recommend_many(asked, int(k))
    except VitrineError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return REFUSED
    print(json.dumps({"lists": [[bundle.item_ids[found.row] for found in answer] for answer in answers]}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
