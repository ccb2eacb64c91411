"""Objects by key in a bucket of S3, Google Cloud or Azure; see serving/storage.py for what each method promises."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
import obstore.store
from obstore.exceptions import AlreadyExistsError, BaseError

from pipelines.errors import SettingsError, StoreUnreachable
from serving.entry import Entry

_CONNECT_S, _REQUEST_S, _RETRY_S, _RETRIES = 5, 60, 30, 4
_CHUNK = 8 << 20  # bytes held of an object while it is fetched
_AT_ONCE = 8  # transfers


class BucketStorage:
    """A bucket, or the part of one below a prefix.

    Args:
        url: s3://bucket/prefix, gs://... or az://...
        options: obstore's configuration keys, for example endpoint, region, access_key_id, secret_access_key.
            What is left out is found as the cloud's own clients find it (environment, instance or pod identity).
    """

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        self.root = url.rstrip("/")
        self._secrets = [value for name, value in options.items() if any(s in name for s in ("secret", "token", "key"))]
        # Plain HTTP only where somebody wrote it: a store on the loopback or inside a cluster.
        client = {"connect_timeout": f"{_CONNECT_S}s", "timeout": f"{_REQUEST_S}s",
                  "allow_http": options.get("endpoint", "").startswith("http://")}
        retries = {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRY_S)}
        try:
            self._store: Any = obstore.store.from_url(self.root, config=dict(options), client_options=client,
                                                      retry_config=retries)
        except (BaseError, ValueError) as error:
            raise SettingsError(f"the store {self.root} cannot be opened: {self._told(error)}; its options are "
                                f"{', '.join(sorted(options)) or 'none'}") from None

    def read(self, key: str) -> bytes:
        """The object's bytes."""
        with self._named("read", key):
            return bytes(obstore.get(self._store, key).bytes())

    def create(self, key: str, content: bytes) -> bool:
        """Put if absent, by the store's own condition on the request."""
        try:
            with self._named("write", key, is_missing_a_fault=True):
                obstore.put(self._store, key, content, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def replace(self, key: str, content: bytes) -> None:
        """Put."""
        with self._named("write", key, is_missing_a_fault=True):
            obstore.put(self._store, key, content)

    def settle(self, key: str) -> None:
        """Nothing to do: a bucket shows only what is durable."""

    def entries(self, folder: str) -> list[Entry]:
        """All objects below `folder`."""
        with self._named("list", folder, is_missing_a_fault=True):
            return sorted(Entry(found["path"], found["size"], found["last_modified"])
                          for page in obstore.list(self._store, f"{folder}/") for found in page)

    def folders(self, folder: str = "") -> list[str]:
        """Names of the folders in `folder`."""
        with self._named("list", folder, is_missing_a_fault=True):
            found = obstore.list_with_delimiter(self._store, f"{folder}/" if folder else None)["common_prefixes"]
            return sorted(name.rstrip("/").rsplit("/", 1)[-1] for name in found)

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects, one after another."""
        with self._named("delete", ", ".join(keys[:1])):
            for key in keys:
                try:
                    obstore.delete(self._store, key)
                except FileNotFoundError:  # Google Cloud and Azure say so, S3 does not
                    continue

    def publish(self, source: Path, names: Sequence[str], folder: str, check: Callable[[Path], None]) -> None:
        """Upload all but the last, see that the source is still what was checked, then upload the last."""
        *files, last = names

        def put(name: str) -> None:
            with self._named("write", f"{folder}/{name}", is_missing_a_fault=True):
                obstore.put(self._store, f"{folder}/{name}", source / name)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(put, files))
        check(source)
        put(last)

    def fetch(self, key: str, target: Path, size: int) -> None:
        """Stream one object into a file."""
        with self._named("read", key):
            answer = obstore.get(self._store, key)
        if (actual := answer.meta["size"]) != size:
            raise ValueError(f"{actual:,} bytes where {size:,} are due")
        with target.open("xb") as file:
            for chunk in self._chunks(key, answer):
                file.write(chunk)

    def sweep(self, before: datetime) -> None:
        """Nothing to do: unfinished uploads are not seen, and the bucket's lifecycle rule ends them."""

    def local(self, folder: str) -> Path | None:
        """None: a bucket lies nowhere on this machine."""
        return None

    def _chunks(self, key: str, answer: Any) -> Iterator[bytes]:
        with self._named("read", key):
            yield from answer.stream(min_chunk_size=_CHUNK)

    @contextmanager
    def _named(self, verb: str, key: str, is_missing_a_fault: bool = False) -> Iterator[None]:
        """Errors by address, and without what the client knows of keys and headers."""
        try:
            yield
        except AlreadyExistsError:
            raise
        except FileNotFoundError as error:
            if is_missing_a_fault:  # nothing is looked for: it is the bucket that is not there
                raise self._failure(verb, key, error) from None
            raise FileNotFoundError(f"{self.root}/{key}") from None
        except (BaseError, OSError) as error:
            raise self._failure(verb, key, error) from None

    def _failure(self, verb: str, key: str, error: Exception) -> StoreUnreachable:
        return StoreUnreachable(
            f"cannot {verb} {self.root}/{key}: {self._told(error)}. See that the address is right, that it can be "
            "reached from here and that the credentials may do this, then run the same again")

    def _told(self, error: Exception) -> str:
        """The first lines of the client's error, without secrets."""
        text = " ".join(str(error).partition("Debug source:")[0].split())[:400]
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text
