"""The serving store: bundles under their digests, and the release log that says which one is live.

    bundles/<digest>/...      whole folders, published by one rename
    releases/00000042.json    records, written with put-if-absent; the highest number is live

A promoter names the release that its challenger was judged against and writes the next number, or fails,
as a table format commits. So the log is pointer, fence and audit in one: of two promoters with the same
parent one wins, and one that was overtaken (a task that outlived its supervisor, say) never does.
"""

import json
import os
import re
import shutil
import uuid
from datetime import datetime
from pathlib import Path
from typing import Annotated

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore
from pydantic import Field, ValidationError, model_validator

from pipelines.artifacts import MANIFEST, digest_of, sync_folder, sync_parent
from pipelines.contracts import Document, UtcTime
from pipelines.errors import BundleRefused, CorruptArtifact, ReleaseConflict
from serving.bundle_files import check_files

BUNDLES, RELEASES = "bundles", "releases"
FORMAT = 1
_DIGEST = re.compile(r"[0-9a-f]{64}")
_RECORD = re.compile(r"\d{8}\.json")

Digest = Annotated[str, Field(pattern=f"^{_DIGEST.pattern}$")]


class Release(Document):
    """One record of the release log.

    Attributes:
        number: parent + 1, or 1 for the first.
        parent: the release that was live when the challenger was judged.
        bundle: digest of the bundle that this release makes live.
        training: digest of the training that the bundle was made of.
        verdict: digest of the gate's verdict.
        as_of: the bundle was made from events before this time.
        actor, reason: who released and why.
        created_at: when the record was written.
        metrics: the challenger's figures.
        run_id, model_name, model_version: MLflow's names for the same thing.
        is_forced: older data was meant to replace newer.
    """

    number: int = Field(ge=1, lt=10**8)
    parent: int | None
    bundle: Digest
    training: Digest
    verdict: Digest
    as_of: UtcTime
    actor: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    created_at: UtcTime
    metrics: dict[str, float]
    run_id: str
    model_name: str
    model_version: str
    is_forced: bool = False

    @model_validator(mode="after")
    def _follows(self) -> "Release":
        if self.number != (self.parent or 0) + 1:
            raise ValueError(f"release {self.number} cannot follow parent {self.parent}; write parent + 1")
        return self


class ReleaseStore:
    """Bundles and release log below `root`. Reading never creates anything."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def live(self) -> Release | None:
        """The release that shoppers see, or none."""
        numbers = self._numbers()
        return self.get(numbers[-1]) if numbers else None

    def history(self) -> list[Release]:
        """All releases, oldest first.

        Raises:
            CorruptArtifact: a record is torn, or one is missing between two others.
        """
        return [self.get(number) for number in range(1, max(self._numbers(), default=0) + 1)]

    def get(self, number: int) -> Release:
        """One record.

        Raises:
            CorruptArtifact: it is missing, torn or changed; the message names the file.
        """
        path = self._record_path(number)
        remedy = "restore it from a backup of the store; what serves now goes on serving"
        try:
            document = json.loads(bytes(obstore.get(LocalStore(self.root), _key(number)).bytes()))
            body = document["release"]
            if document["sha256"] != digest_of(body):
                raise ValueError("its SHA-256 does not fit its content")
            release = Release.model_validate(body)
            if release.number != number:
                raise ValueError(f"it says that it is release {release.number}")
        except FileNotFoundError as error:
            raise CorruptArtifact(f"release record {path} is missing; {remedy}") from error
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            raise CorruptArtifact(f"release record {path} is torn or was changed ({error}); {remedy}") from error
        return release

    def parent_for(self, training: str, as_of: datetime | None = None) -> Release | None:
        """The release to judge a training against: the live one.

        Where the live one is of that very training (the run is being repeated), the one that it replaced:
        so a repeated run is judged, named and promoted exactly as before.

        Args:
            training: digest of the training.
            as_of: end of its window; tells a repetition from a later window without new events, whose
                training may come out with the same digest. Without it the digest alone decides.
        """
        live = self.live()
        if live is not None and live.training == training and as_of in (None, live.as_of):
            return self.get(live.parent) if live.parent is not None else None
        return live

    def check(self, release: Release) -> Release | None:
        """Whether `release` may be the next record, as far as can be said without writing it.

        Returns:
            The existing record where the very same promotion was made before, else None.

        Raises:
            ReleaseConflict: another release has this number, `parent` is not live, or newer data is live.
        """
        numbers = self._numbers()
        if release.number in numbers:
            return self._repeated(release)
        live = self.get(numbers[-1]) if numbers else None
        live_number = live.number if live else None
        if live_number != release.parent:
            raise ReleaseConflict(
                f"{self.root}: this challenger was judged against release {release.parent}, release {live_number} "
                "is live; judge it again against that one"
            )
        if live and release.as_of < live.as_of and not release.is_forced:
            raise ReleaseConflict(
                f"{self.root}: data up to {release.as_of} would replace data up to {live.as_of} of release "
                f"{live.number}; retrain with a later as_of, or force it and give the reason"
            )
        return None

    def commit(self, release: Release) -> Release:
        """Append a record: the one atomic step that makes a bundle live.

        Returns:
            The acknowledged record; the existing one where the very same promotion was made before.

        Raises:
            ReleaseConflict: see `check`, or another promoter was quicker.
            BundleRefused: the store does not hold the bundle.
        """
        record = self.check(release)
        if record is None and not (self.bundle_path(release.bundle) / MANIFEST).is_file():
            raise BundleRefused(f"{self.root} does not hold bundle {release.bundle}; add it before releasing it")
        if record is None:
            body = release.model_dump(mode="json")
            text = json.dumps({"format": FORMAT, "release": body, "sha256": digest_of(body)}, indent=1, sort_keys=True)
            try:
                obstore.put(LocalStore(self.root, mkdir=True), _key(release.number), text.encode(), mode="create")
                record = release
            except AlreadyExistsError:
                record = self._repeated(release)
        # Also for a repetition: the first writer may have died between writing and syncing.
        self._sync(release.number)
        return record

    def bundle_path(self, digest: str) -> Path:
        """Where the bundle of this digest lies, or will."""
        if not _DIGEST.fullmatch(digest):
            raise BundleRefused(f"{digest!r} is no bundle digest (64 hexadecimal digits)")
        return self.root / BUNDLES / digest

    def add_bundle(self, folder: Path) -> str:
        """Copy a sealed bundle into the store and return its digest; at once where it is there already.

        Readers see the whole bundle or none: the copy is checked and fsynced under a name of its own,
        then renamed.

        Raises:
            BundleRefused: the folder, the copy, or what the store holds under its digest is not whole.
        """
        files = check_files(Path(folder).resolve())
        digest = digest_of(files)
        final = self.bundle_path(digest)
        if final.exists():
            check_files(final)
            return digest
        incoming = self.root / BUNDLES / f".incoming-{digest[:12]}-{uuid.uuid4().hex[:12]}"
        incoming.mkdir(parents=True)
        try:
            for name in [*files, MANIFEST]:
                (incoming / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(Path(folder) / name, incoming / name)
            if digest_of(check_files(incoming)) != digest:
                raise BundleRefused(f"{folder} changed while it was copied; run the promotion again")
            sync_folder(incoming)
            try:
                incoming.rename(final)
            except OSError:
                # Somebody added the same bundle meanwhile; where it is whole, theirs will do.
                if not final.exists():
                    raise
                check_files(final)
            sync_parent(final)
            sync_parent(final.parent)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        return digest

    def _repeated(self, release: Release) -> Release:
        """The record that stands under `release.number`, if it is of the very same promotion."""
        existing = self.get(release.number)
        if (existing.bundle, existing.parent) != (release.bundle, release.parent):
            raise ReleaseConflict(
                f"{self.root}: release {existing.number} is already bundle {existing.bundle[:12]} of {existing.actor} "
                f"({existing.created_at}), bundle {release.bundle[:12]} was judged against its parent "
                f"{release.parent}; judge it again against the live release"
            )
        return existing

    def _numbers(self) -> list[int]:
        if not (self.root / RELEASES).is_dir():
            return []
        found = (Path(entry["path"]).name for page in obstore.list(LocalStore(self.root), f"{RELEASES}/")
                 for entry in page)
        return sorted(int(name[:8]) for name in found if _RECORD.fullmatch(name))

    def _record_path(self, number: int) -> Path:
        return self.root / _key(number)

    def _sync(self, number: int) -> None:
        path = self._record_path(number)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_parent(path)
        sync_parent(path.parent)


def _key(number: int) -> str:
    return f"{RELEASES}/{number:08d}.json"
