"""Who may ask what: keys of clients, held as hashes, with scopes and a rate each."""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from pipelines.contracts import Document
from pipelines.errors import SettingsError
from pipelines.validation import faults_of

Scope = Literal["serve", "events", "operate"]
SCOPES: tuple[Scope, ...] = ("serve", "events", "operate")
_BYTES = 32


class Client(Document):
    """A client and its key's SHA-256.

    Attributes:
        name: as logs and metrics call it; not the key.
        sha256: of the key, which stands nowhere else.
        scopes: serve asks for answers, events brings events and identities, operate changes availability and forgets
            users.
        per_second: requests a second, on average.
        burst: requests at once.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    per_second: float = Field(100.0, gt=0)
    burst: int = Field(200, ge=1)


class KeyRing:
    """The clients that may ask. Where there are none, nobody needs a key: for the loopback interface alone."""

    def __init__(self, clients: Sequence[Client] = ()) -> None:
        """Take the clients.

        Raises:
            SettingsError: a name or a key stands twice.
        """
        for what, values in (("name", [c.name for c in clients]), ("key", [c.sha256 for c in clients])):
            if len(set(values)) < len(values):
                raise SettingsError(f"a {what} of the API's keys stands twice: give each client one of its own")
        self.clients = tuple(clients)

    @classmethod
    def load(cls, path: Path) -> "KeyRing":
        """Read a file of `{"clients": [...]}`.

        Raises:
            SettingsError: it cannot be read or holds something else; the message names no key.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            return cls([Client.model_validate(client) for client in document["clients"]])
        except (OSError, ValueError, KeyError, TypeError) as error:
            told = (f"{len(error.errors())} wrong fields, the first at {error.errors()[0]['loc']}"
                    if isinstance(error, ValidationError) else type(error).__name__)
            raise SettingsError(f"{path} holds no keys of the API ({told}): make one with `vitrine keys`") from None

    def client(self, key: str) -> Client | None:
        """Whose key this is. It takes the same time whichever key it is or none."""
        digest, found = sha256_of(key), None
        for client in self.clients:
            if hmac.compare_digest(client.sha256, digest):
                found = client
        return found


def sha256_of(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def new_key(name: str, scopes: Sequence[Scope], per_second: float, burst: int) -> tuple[str, Client]:
    """A key, to be shown once, and what is kept of it.

    Raises:
        SettingsError: a field is out of bounds.
    """
    key = secrets.token_urlsafe(_BYTES)
    try:
        return key, Client(name=name, sha256=sha256_of(key), scopes=tuple(scopes), per_second=per_second, burst=burst)
    except ValidationError as error:
        raise SettingsError(faults_of(error)) from None


def save(ring: KeyRing, path: Path) -> None:
    """Write the file of keys: beside, readable by its owner alone, and renamed."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump({"clients": [client.model_dump(mode="json") for client in ring.clients]}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
