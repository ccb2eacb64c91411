"""Bundles under their digests: added whole, fetched whole, removed whole.

    bundles/<digest>/...    in a folder published by one rename, in a bucket with the manifest written last

A reader of a bucket gets a bundle into a cache folder of its machine: fetched beside, checked to the byte against
the digest that the release names, and renamed. What a name in a manifest could lead to is looked at before any
file is made.
"""

import fcntl
import json
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.artifacts import MANIFEST, digest_of
from pipelines.errors import BundleAbsent, BundleRefused, SettingsError
from pipelines.free_space import require_free
from serving import tried
from serving.bundle_files import DEFAULT_BOUNDS, KNOWN, check_files
from serving.release import DIGEST
from serving.storage import Storage

BUNDLES = "bundles"
CACHED = 3  # bundles that a cache keeps at least: the live one, the one before, and one that is just fetched
_CACHED_S = 86_400  # and all that were used in the last day
_AT_ONCE = 4

log = logging.getLogger("vitrine")


class Stock(NamedTuple):
    """What the store holds of one bundle."""

    size: int  # bytes
    modified: datetime  # newest file
    is_whole: bool  # its manifest is there


class Shelf:
    """The bundles of a store.

    Args:
        storage: the store.
        cache: folder for what is fetched from a bucket; a local store needs none.
    """

    def __init__(self, storage: Storage, cache: Path | None = None) -> None:
        self._storage, self._cache = storage, cache

    def holds(self, digest: str) -> bool:
        """Whether the bundle was added whole (its manifest is written last)."""
        try:
            self._storage.read(f"{_folder(digest)}/{MANIFEST}")
        except FileNotFoundError:
            return False
        return True

    def path(self, digest: str) -> Path:
        """A folder of this machine with the bundle, checked to the byte; fetched where it has to be.

        Raises:
            BundleAbsent: the store does not hold it.
            BundleRefused: what it holds is not that bundle.
            StoreUnreachable, DiskFull: it cannot be read, or there is no space for it; a retry may help.
        """
        folder = self._storage.local(_folder(digest))
        if folder is not None:
            if not folder.is_dir():
                raise self._absent(digest)
            if digest_of(check_files(folder)) != digest:
                raise BundleRefused(f"{folder} holds another bundle than its name says; add that bundle again")
            return folder
        if self._cache is None:
            raise SettingsError(f"bundles of {self._storage.root} are fetched into a cache folder, and none is given: "
                                "set VITRINE_CACHE")
        final = self._cache / digest
        if not self._is_cached(final, digest):
            self._fetch(digest, final)
            _trim(self._cache, final)
        os.utime(final)
        return final

    def check(self, digest: str) -> dict[str, dict[str, Any]]:
        """The bundle's files, where it is whole as far as can be seen without fetching it.

        On this machine every byte is read. Of a bucket the listing is compared with the manifest, and the manifest
        with the digest; whoever fetches reads every byte.

        Raises:
            BundleRefused: the first file that is missing or of another size.
        """
        if self._storage.local(_folder(digest)) is not None:
            return check_files(self.path(digest))
        files = self._manifest(digest)
        prefix = f"{_folder(digest)}/"
        sizes = {entry.key.removeprefix(prefix): entry.size for entry in self._storage.entries(_folder(digest))}
        for name, entry in files.items():
            if sizes.get(name) != entry["bytes"]:
                raise BundleRefused(f"{self._storage.root}/{prefix}{name} has {sizes.get(name, 'no')} bytes where the "
                                    f"manifest says {entry['bytes']:,}; remove the bundle and promote it again")
        return files

    def add(self, folder: Path) -> str:
        """Copy a sealed bundle into the store and return its digest; at once where it is there already.

        Readers see the whole bundle or none.

        Raises:
            BundleRefused: the folder, the copy, or what the store holds under its digest is not whole.
        """
        folder = Path(folder).resolve()
        files = check_files(folder)
        digest = digest_of(files)
        if not self.holds(digest):
            local = self._storage.local(BUNDLES)
            if local is not None:
                require_free(local, sum(entry["bytes"] for entry in files.values()), f"bundle {digest[:12]}")

            def unchanged(copied: Path) -> None:
                if check_files(copied) != files:
                    raise BundleRefused(f"{folder} changed while it was copied; run the promotion again")

            # The manifest goes last: where it is, everything is.
            self._storage.publish(folder, [*files, MANIFEST], _folder(digest), unchanged)
        self.check(digest)
        return digest

    def stock(self) -> dict[str, Stock]:
        """Every bundle of the store, half ones too, by digest."""
        found: dict[str, Stock] = {}
        for entry in self._storage.entries(BUNDLES):
            _, digest, name = entry.key.split("/", 2)
            before = found.get(digest, Stock(0, entry.modified, False))
            found[digest] = Stock(before.size + entry.size, max(before.modified, entry.modified),
                                  before.is_whole or name == MANIFEST)
        return found

    def read(self, digest: str, name: str) -> bytes:
        """One file of a bundle as it lies in the store, unchecked; FileNotFoundError where there is none."""
        return self._storage.read(f"{_folder(digest)}/{name}")

    def remove(self, digest: str) -> None:
        """Remove a bundle; from its first moment nobody takes the rest for a bundle."""
        folder = _folder(digest)
        keys = [entry.key for entry in self._storage.entries(folder)]
        self._storage.delete(sorted(keys, key=lambda key: (key != f"{folder}/{MANIFEST}", key)))
        local = self._storage.local(folder)
        if local is not None:
            shutil.rmtree(local, ignore_errors=True)

    def _manifest(self, digest: str) -> dict[str, dict[str, Any]]:
        """Files of a bundle of a bucket by its manifest, which the digest vouches for."""
        where = f"{self._storage.root}/{_folder(digest)}/{MANIFEST}"
        try:
            files = json.loads(self._storage.read(f"{_folder(digest)}/{MANIFEST}"))["files"]
            sizes = {name: int(entry["bytes"]) for name, entry in files.items()}
        except FileNotFoundError:
            raise self._absent(digest) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleRefused(f"{where} cannot be read ({error!r}); remove the bundle, promote it again") from error
        if digest_of(files) != digest:
            raise BundleRefused(f"{where} is of bundle {digest_of(files)[:12]}; remove the bundle and promote it again")
        for name, size in sizes.items():
            if name not in KNOWN or not 0 <= size <= DEFAULT_BOUNDS.of(name):
                raise BundleRefused(f"{where} names {name!r} of {size:,} bytes, which no bundle holds")
        return dict(files)

    def _is_cached(self, final: Path, digest: str) -> bool:
        """Whether the cache holds the bundle; a damaged copy is moved out of the way."""
        if not final.is_dir():
            return False
        if (fault := _fault(final, digest)) is None:
            return True
        with _locked(final.parent):
            # Another reader may have mended it since.
            if not final.is_dir() or _fault(final, digest) is None:
                return final.is_dir()
            log.warning("the cached copy of bundle %s is fetched anew: %s", digest[:12], fault)
            aside = final.parent / f".damaged-{uuid.uuid4().hex[:12]}"
            final.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
        return False

    def _fetch(self, digest: str, final: Path) -> None:
        files = self._manifest(digest)
        incoming = final.parent / f".incoming-{digest[:12]}-{uuid.uuid4().hex[:12]}"
        incoming.mkdir(parents=True)
        try:
            require_free(incoming, sum(entry["bytes"] for entry in files.values()), f"bundle {digest[:12]}")
            self._fetch_files(digest, files, incoming)
            if digest_of(check_files(incoming)) != digest:
                raise BundleRefused(f"{self._storage.root}/{_folder(digest)} changed while it was fetched")
            try:
                incoming.rename(final)
            except OSError:
                # Another reader of this machine was quicker with the same bundle.
                if not final.is_dir():
                    raise
                check_files(final)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)

    def _fetch_files(self, digest: str, files: Mapping[str, Mapping[str, Any]], target: Path) -> None:
        def fetch(name: str) -> None:
            try:
                self._storage.fetch(f"{_folder(digest)}/{name}", target / name, files[name]["bytes"])
            except (FileNotFoundError, ValueError) as error:
                raise BundleRefused(f"{self._storage.root}/{_folder(digest)}/{name} is not what the manifest says "
                                    f"({error}); it was removed or damaged: promote or roll back again") from error

        for name in files:
            (target / name).parent.mkdir(exist_ok=True)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(fetch, files))
        (target / MANIFEST).write_bytes(self._storage.read(f"{_folder(digest)}/{MANIFEST}"))

    def _absent(self, digest: str) -> BundleAbsent:
        return BundleAbsent(f"{self._storage.root} does not hold bundle {digest}; add it before releasing it, or roll "
                             "back to a release whose bundle is still there")


def _folder(digest: str) -> str:
    if not re.fullmatch(DIGEST, digest):
        raise BundleRefused(f"{digest!r} is no bundle digest (64 hexadecimal digits)")
    return f"{BUNDLES}/{digest}"


def _fault(folder: Path, digest: str) -> str | None:
    """Why a folder is not the bundle of this digest, or None."""
    try:
        found = digest_of(check_files(folder))
    except BundleRefused as error:
        return str(error)
    return None if found == digest else f"{folder} is bundle {found[:12]}"


def _trim(cache: Path, newest: Path) -> None:
    """Remove what the cache holds beyond CACHED bundles and was not used for a day, and what was left half."""
    def age(path: Path) -> float:
        try:
            return time.time() - path.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    kept = newest, cache / tried.FOLDER
    folders = sorted((path for path in cache.iterdir() if path.is_dir() and path not in kept), key=age)
    whole = [path for path in folders if not path.name.startswith(".")]
    for path in [*whole[CACHED - 1 :], *(path for path in folders if path.name.startswith("."))]:
        if age(path) > _CACHED_S:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """One process of this machine at a time; the lock dies with its holder."""
    with (cache / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
