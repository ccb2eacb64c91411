"""Sealed folders: how every stage writes, so that a kill at any moment leaves nothing half done.

A stage builds in a folder of its own attempt, each file is fsynced, the manifest is written last, and
one rename publishes the whole. The folder's name is the key of its inputs: a second run finds the
manifest and returns.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from pipelines.contracts import Artifact
from pipelines.errors import CorruptArtifact, TakenAway

MANIFEST = "manifest.json"
CONTRACT = "contract.json"
# Wall-clock figures of a run (seconds, throughput): kept for people, outside the digest.
TIMINGS = "timings.json"
FORMAT = 1

C = TypeVar("C", bound=Artifact)


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: the same value always gives the same bytes."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical(value)).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stage_key(stage: str, *inputs: Any) -> str:
    """The identity of a piece of work: stage, format and everything that decides its result."""
    return digest_of(
        [FORMAT, stage, [i.model_dump(mode="json") if isinstance(i, BaseModel) else i for i in inputs]]
    )


def folder_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Relative path -> {"sha256", "bytes"} of every file that the digest covers, sorted by path."""
    outside = {MANIFEST, CONTRACT, TIMINGS}
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return {
        name: {"sha256": file_digest(folder / name), "bytes": (folder / name).stat().st_size}
        for name in names
        if name not in outside
    }


def write_json(path: Path, value: Any) -> None:
    """Write indented, key-sorted JSON (people read these files) and fsync it."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, sort_keys=True, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())


def read_json(path: Path) -> Any:
    """Parsed JSON of `path`.

    Raises:
        CorruptArtifact: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptArtifact(f"{path} cannot be read as JSON: {error}") from error


def sync_folder(folder: Path) -> None:
    """fsync every file below `folder` and the folders themselves."""
    # The disk takes many at once: a lake of thousands of days would wait for each in turn.
    with ThreadPoolExecutor(max_workers=16) as pool:
        list(pool.map(_sync, [*folder.rglob("*"), folder]))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_contract(kind: type[C], folder: str | Path) -> C:
    """The contract that a sealed folder holds, with `path` set to where the folder lies now.

    Raises:
        CorruptArtifact: the folder is not sealed, or holds another kind of contract.
    """
    folder = Path(folder)
    document = read_json(folder / CONTRACT)
    if document.get("kind") != kind.__name__:
        raise CorruptArtifact(
            f"{folder} holds {document.get('kind')} where {kind.__name__} is needed; "
            "pass the folder that the stage before this one printed"
        )
    return kind.model_validate({**document["contract"], "path": str(folder.resolve())})


def place(root: Path, stage: str, key: str) -> Path:
    """Where the sealed folder of a piece of work lies."""
    return root / stage / key[:20]


def find(kind: type[C], root: Path, stage: str, key: str) -> C | None:
    """The contract of a piece of work that was sealed before; None where there is none."""
    final = place(root, stage, key)
    return load_contract(kind, final) if (final / CONTRACT).exists() else None


def seal(
    kind: type[C],
    root: Path,
    stage: str,
    key: str,
    build: Callable[[Path], dict[str, Any]],
    before_publishing: Callable[[], None] = lambda: None,
) -> C:
    """Run `build` once for `key` and publish what it wrote as one sealed folder.

    Args:
        kind: contract class that describes the result.
        root: artefact root; the result lies at `root/stage/key[:20]`.
        build: writes files into the folder it is given and returns the contract's remaining fields
            (all but path, key and digest).
        before_publishing: may raise when all is written, for what must not have changed meanwhile.

    Returns:
        The contract; that of the earlier run where one with the same key was sealed before.

    Raises:
        TakenAway: an erasure removed the folder while it was written.
    """
    final = place(root, stage, key)
    if (before := find(kind, root, stage, key)) is not None:
        return before
    attempt = root / stage / f".attempt-{key[:12]}-{uuid.uuid4().hex[:12]}"
    attempt.mkdir(parents=True)
    try:
        with _ours(attempt):
            fields = build(attempt)
            files = folder_files(attempt)
            write_json(attempt / MANIFEST, {"format": FORMAT, "stage": stage, "key": key, "files": files})
            contract = kind(path=str(final.resolve()), key=key, digest=digest_of(files), **fields)
            # The contract is written last: a folder that has one is whole.
            write_json(attempt / CONTRACT, {"kind": kind.__name__, "contract": contract.model_dump(mode="json")})
            sync_folder(attempt)
            before_publishing()
        try:
            attempt.rename(final)
        except OSError:
            # Another attempt of the same work was quicker; its result stands.
            if not (final / CONTRACT).exists():
                raise
            return load_contract(kind, final)
        sync_parent(final)
        return contract
    finally:
        shutil.rmtree(attempt, ignore_errors=True)


@contextmanager
def _ours(attempt: Path) -> Iterator[None]:
    """While the folder is written; `take_away` may move it, and whoever writes on would make a new one, half full.

    Raises:
        TakenAway: it is not the same folder any more.
    """
    held = os.open(attempt, os.O_RDONLY)  # as long as it is open no other folder can be taken for it
    try:
        try:
            yield
        finally:
            try:
                is_ours = os.path.samestat(os.fstat(held), attempt.stat())
            except FileNotFoundError:
                is_ours = False
            if not is_ours:
                raise TakenAway(f"{attempt} was taken away while it was written: it held a person who was erased "
                                "meanwhile. Nothing was sealed; run the stage again")
    finally:
        os.close(held)


def take_away(folder: Path) -> bool:
    """Remove a folder of the artefact root whole, sealed or not; False where it was gone, renamed perhaps.

    Killed or met by another removal in the midst of it, what is left lies under a name that nobody takes for a result.
    """
    aside = folder.parent / f".removed-{uuid.uuid4().hex[:12]}"
    try:
        folder.rename(aside)
    except FileNotFoundError:
        return False
    shutil.rmtree(aside, ignore_errors=True)
    return True


def sync_parent(path: Path) -> None:
    """Make a rename into `path`'s folder durable."""
    _sync(path.parent)


def verify(folder: Path) -> None:
    """Check every file of a sealed folder against its manifest.

    Raises:
        CorruptArtifact: a file is missing, surplus, of another size or of another digest.
    """
    manifest = read_json(folder / MANIFEST)
    expected, found = manifest["files"], folder_files(folder)
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            raise CorruptArtifact(f"{folder}: {name} is missing; run the {manifest['stage']} stage again")
        if name not in expected:
            raise CorruptArtifact(f"{folder}: {name} is not in the manifest; remove it or run the stage again")
        if expected[name] != found[name]:
            raise CorruptArtifact(
                f"{folder}: {name} has {found[name]['bytes']} bytes and SHA-256 {found[name]['sha256'][:12]}, "
                f"the manifest says {expected[name]['bytes']} and {expected[name]['sha256'][:12]}; "
                "remove the folder and run the stage again"
            )
