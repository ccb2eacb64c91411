"""Objects by key below one address: a local folder, or a bucket of S3, Google Cloud or Azure.

Both keep what a release log stands on: `create` writes a whole object where there was none or says that there
was one, and what it has acknowledged outlives the machine's power (locally by fsync of file and folder).
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pipelines.errors import SettingsError
from serving.bucket_storage import BucketStorage
from serving.entry import Entry
from serving.local_storage import LocalStorage

SCHEMES = ("s3", "gs", "az")


class Storage(Protocol):
    """What the release store asks of a place. Keys are relative, with "/" between their parts.

    Every method raises StoreUnreachable where the place itself fails.
    """

    root: str

    def read(self, key: str) -> bytes:
        """The object's bytes; FileNotFoundError where there is none."""

    def create(self, key: str, content: bytes) -> bool:
        """Put if absent, durable on return; False, and nothing changed, where the key is taken."""

    def replace(self, key: str, content: bytes) -> None:
        """Put, whatever was there. Readers see the old or the new object, whole."""

    def settle(self, key: str) -> None:
        """Make durable what another writer, who may have died since, has created."""

    def entries(self, folder: str) -> list[Entry]:
        """All objects below `folder`, sorted by key; none where there is no such folder."""

    def folders(self, folder: str = "") -> list[str]:
        """Names of the folders in `folder`, sorted."""

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects in this order; a missing one is no error."""

    def publish(self, source: Path, names: Sequence[str], folder: str, check: Callable[[Path], None]) -> None:
        """Copy files of `source` to `folder`; whoever sees the last of `names` there sees all of them, whole.

        Before the last one is seen, `check` gets the folder that was copied, or copied from, and may raise.
        """

    def fetch(self, key: str, target: Path, size: int) -> None:
        """Write the object to the new file `target`.

        FileNotFoundError where there is none, ValueError where it has not `size` bytes.
        """

    def sweep(self, before: datetime) -> None:
        """Remove what killed writers left beside, where it was written before this time."""

    def local(self, folder: str) -> Path | None:
        """Where `folder` lies on this machine; None for a bucket."""


def open_storage(root: str | Path, options: Mapping[str, str] | None = None) -> Storage:
    """The place at `root`: a folder, file:// URL, or s3://, gs:// or az:// URL with the client's `options`.

    Nothing is reached or made yet.

    Raises:
        SettingsError: the scheme is another one, or an option is none of that client's.
    """
    text = str(root)
    scheme, separator, _ = text.partition("://")
    if not separator:
        return LocalStorage(Path(text))
    if scheme == "file":
        return LocalStorage(Path(unquote(urlsplit(text).path)))
    if scheme not in SCHEMES:
        raise SettingsError(f"the store {text} is of scheme {scheme!r}: give a folder, or a URL of "
                            f"{', '.join(f'{known}://' for known in SCHEMES)}")
    return BucketStorage(text, options or {})
