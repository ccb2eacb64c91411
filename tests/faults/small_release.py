"""Releases whose bundles are a few hundred kilobytes of chance, and one number that goes through record and files.

What a bundle's files mean is nobody's business here: whole or not, and of which release, is. The module imports
nothing heavy, so that processes can be made, stopped and killed by the thousand.
"""

import hashlib
import json
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.artifacts import FORMAT, MANIFEST, digest_of, folder_files
from serving.bundle_files import REQUIRED
from serving.local_storage import LocalStorage
from serving.release import Release
from serving.store import ReleaseStore

START = datetime(2026, 1, 1, tzinfo=UTC)


def write_bundle(folder: Path, mark: str) -> Path:
    """A new bundle folder with `mark` in its provenance; its files are drawn by it."""
    draw = random.Random(mark)
    for name in sorted(REQUIRED):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(draw.randbytes(draw.choice((100, 5_000, 60_000))))
    (folder / "provenance.json").write_text(json.dumps({"mark": mark}))
    (folder / MANIFEST).write_text(json.dumps({"format": FORMAT, "files": folder_files(folder)}))
    return folder


def release_of(bundle: str, mark: str, parent: int | None, day: int = 0, **more: Any) -> Release:
    """A release of a bundle, with `mark` as its reason and as its training."""
    moment = START + timedelta(days=day)
    fields: dict[str, Any] = {"actor": mark, "reason": mark, "created_at": datetime.now(UTC), "metrics": {},
                              "run_id": "r", "model_name": "m", "model_version": "1", "verdict": "0" * 64, **more}
    return Release(number=(parent or 0) + 1, parent=parent, bundle=bundle, as_of=moment,
                   training=hashlib.sha256(mark.encode()).hexdigest(), **fields)


def read_whole(store: ReleaseStore) -> Release | None:
    """What is live, with every byte of its bundle checked and its mark compared: the reader of all sweeps.

    Raises:
        Exception: anything that is not one whole release.
    """
    live = store.live()
    if live is None:
        return None
    folder = store.bundle_path(live.bundle)
    mark = json.loads((folder / "provenance.json").read_text())["mark"]
    if mark != live.reason:
        raise AssertionError(f"release {live.number} is {live.reason}, its bundle says {mark}")
    return live


def before_each_step(strike: Callable[[str], None]) -> None:
    """Call `strike` with the step's name before each step of this process on a local store, and within its writes."""
    def wrap(name: str) -> None:
        real = getattr(LocalStorage, name)

        def step(*arguments: Any, **named: Any) -> Any:
            strike(name)
            return real(*arguments, **named)

        setattr(LocalStorage, name, step)

    for name in ("read", "create", "replace", "settle", "entries", "delete", "publish", "_written", "_sync_up"):
        wrap(name)
    real_link = os.link

    def link(*arguments: Any, **named: Any) -> None:
        strike("link")
        real_link(*arguments, **named)

    os.link = link


def digest_of_folder(folder: Path) -> str:
    """The digest under which a store will hold the bundle."""
    return digest_of(json.loads((folder / MANIFEST).read_text())["files"])
