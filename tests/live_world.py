"""A store of releases that give themselves away: what answers says of which bundle it is.

The shop is that of tests/release_world.py. In bundle n the prior of every item is 10 n higher, and so is every score:

    score(user, i) = 2 * (events of the user in group i % 4) + (40 - i) / 1000 + 10 n
"""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from pipelines.artifacts import MANIFEST, digest_of, read_json
from serving.live import Served
from serving.recommender import Recommendation
from serving.shelf import BUNDLES
from serving.store import Release, ReleaseStore
from tests.release_world import AS_OF, NO_TOKENS, NOW_US, history_of
from tests.serving.conftest import make_bundle, seal_bundle


def write_numbered(folder: Path, number: int) -> Path:
    """Turn the world's own bundle in `folder` into bundle `number`."""
    vectors = np.load(folder / "item_vectors.npy")
    vectors[:, -1] += 10 * number
    np.save(folder / "item_vectors.npy", vectors)
    return seal_bundle(folder)


class LiveShop:
    """A serving store and its numbered bundles."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = ReleaseStore(root / "store")
        self._own = make_bundle(root, "own")

    def folder(self, number: int) -> Path:
        """Bundle `number` outside the store, made anew."""
        folder = self.root / f"bundle-{number}"
        shutil.rmtree(folder, ignore_errors=True)
        return write_numbered(Path(shutil.copytree(self._own, folder)), number)

    def add(self, number: int) -> str:
        """Put bundle `number` into the store; its digest."""
        return self.store.add_bundle(self.folder(number))

    def release(self, bundle: int | str) -> Release:
        """Append a release of a bundle, by number or digest."""
        return self.store.commit(self.next_record(self.add(bundle) if isinstance(bundle, int) else bundle))

    def next_record(self, digest: str) -> Release:
        """The record that would come next."""
        live = self.store.live()
        parent = live.number if live else None
        return Release(
            number=(parent or 0) + 1, parent=parent, bundle=digest, training="0" * 64, verdict="0" * 64, as_of=AS_OF,
            actor="tester", reason="test", created_at=datetime.now(UTC), metrics={}, run_id="r", model_name="vitrine",
            model_version="1")

    def inside(self, digest: str) -> Path:
        """Where the store holds a bundle, whether or not it is whole."""
        return self.root / "store" / BUNDLES / digest


def digest_in(folder: Path) -> str:
    """The digest that a bundle's manifest says, whether or not its files are those."""
    return digest_of(read_json(folder / MANIFEST)["files"])


def ask(served: Served, user: int) -> list[Recommendation]:
    """Three items for a user of the shop."""
    return served.recommender.recommend(history_of(user), NOW_US, NO_TOKENS, 3)


def bundle_of(slate: list[Recommendation], user: int) -> int:
    """Which bundle gave a whole slate for `user`.

    Raises:
        AssertionError: it is not a whole answer of any single bundle.
    """
    # Next after g, g + 4, g + 8 come the three best-selling others of the group.
    rows = [user % 4 + 12, user % 4 + 16, user % 4 + 20]
    assert [found.row for found in slate] == rows, slate
    numbers = [(found.score - 6 - (40 - row) / 1000) / 10 for found, row in zip(slate, rows, strict=True)]
    assert max(abs(number - round(numbers[0])) for number in numbers) < 1e-4, slate
    return round(numbers[0])
