"""Objects by key in a local folder; see serving/storage.py for what each method promises."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pipelines.artifacts import sync_folder, sync_parent
from pipelines.errors import StoreUnreachable
from serving.entry import Entry


class LocalStorage:
    """A folder. Files whose name begins with a dot are being written and count for nothing."""

    def __init__(self, root: Path) -> None:
        self.path = root
        self.root = str(root)

    def read(self, key: str) -> bytes:
        """The object's bytes."""
        with self._named(key):
            return (self.path / key).read_bytes()

    def create(self, key: str, content: bytes) -> bool:
        """Put if absent, by a hard link to what was made durable beside."""
        path = self.path / key
        with self._named(key):
            beside = self._written(path, content)
            try:
                # The content is durable before anybody can see it: a power cut never leaves an empty record.
                os.link(beside, path)
            except FileExistsError:
                return False
            finally:
                beside.unlink()
            sync_parent(path)
        return True

    def replace(self, key: str, content: bytes) -> None:
        """Put, by a rename."""
        path = self.path / key
        with self._named(key):
            self._written(path, content).replace(path)
            sync_parent(path)

    def settle(self, key: str) -> None:
        """fsync what leads to the object; its content was durable before it was seen."""
        with self._named(key):
            self._sync_up((self.path / key).parent)

    def entries(self, folder: str) -> list[Entry]:
        """All files below `folder`, but those that are being written."""
        found, open_folders = [], [self.path / folder]
        with self._named(folder):
            while open_folders:
                try:
                    with os.scandir(open_folders.pop()) as entries:
                        inside = [entry for entry in entries if not entry.name.startswith(".")]
                except FileNotFoundError:  # never made, or removed since its parent was read
                    continue
                for entry in inside:
                    if entry.is_dir(follow_symlinks=False):
                        open_folders.append(Path(entry.path))
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    key = Path(entry.path).relative_to(self.path).as_posix()
                    found.append(Entry(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)))
        return sorted(found)

    def folders(self, folder: str = "") -> list[str]:
        """Names of the folders in `folder`."""
        with self._named(folder):
            try:
                with os.scandir(self.path / folder) as entries:
                    return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
            except FileNotFoundError:
                return []

    def delete(self, keys: Sequence[str]) -> None:
        """Remove files."""
        with self._named(", ".join(keys[:1])):
            for key in keys:
                (self.path / key).unlink(missing_ok=True)

    def publish(self, source: Path, names: Sequence[str], folder: str, check: Callable[[Path], None]) -> None:
        """Copy beside, check the copy, make it durable, and rename it."""
        final = self.path / folder
        with self._named(folder):
            beside = final.parent / f".incoming-{final.name[:12]}-{uuid.uuid4().hex[:12]}"
            beside.mkdir(parents=True)
            try:
                for name in names:
                    (beside / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source / name, beside / name)
                check(beside)
                sync_folder(beside)
                try:
                    beside.rename(final)
                except OSError:
                    # Somebody published the same folder meanwhile: the caller checks it as it would check ours.
                    if not (final / names[-1]).exists():
                        raise
                self._sync_up(final.parent)
            finally:
                shutil.rmtree(beside, ignore_errors=True)

    def fetch(self, key: str, target: Path, size: int) -> None:
        """Copy one file."""
        with self._named(key):
            if (actual := (self.path / key).stat().st_size) != size:
                raise ValueError(f"{actual:,} bytes where {size:,} are due")
            shutil.copyfile(self.path / key, target)

    def sweep(self, before: datetime) -> None:
        """Remove files and folders with a dot before their name that were last written before this time."""
        for folder, folders, files in os.walk(self.path):
            for name in [name for name in (*folders, *files) if name.startswith(".")]:
                path = Path(folder) / name
                with suppress(FileNotFoundError):
                    if path.lstat().st_mtime < before.timestamp():
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
            folders[:] = [name for name in folders if not name.startswith(".")]

    def local(self, folder: str) -> Path | None:
        """The folder itself."""
        return self.path / folder

    def _written(self, path: Path, content: bytes) -> Path:
        """A new file beside `path`, whole and durable."""
        self._make(path.parent)
        beside = path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}"
        try:
            with beside.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        return beside

    def _make(self, folder: Path) -> None:
        """Make a folder whose own name is durable too."""
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            self._sync_up(folder)

    def _sync_up(self, folder: Path) -> None:
        """Make the entries of a folder durable, and the names that lead to it."""
        sync_parent(folder / "*")
        while folder not in (self.path.parent, folder.parent):
            sync_parent(folder)
            folder = folder.parent

    @contextmanager
    def _named(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreUnreachable(f"{self.path / key}: {error.strerror or error}; nothing half is visible there. See "
                                   "to space and permissions of the store's folder, then run the same again") from error
