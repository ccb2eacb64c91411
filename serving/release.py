"""The documents of a release log: releases, and promotions that were refused. Each carries its own SHA-256."""

import json
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from pipelines.artifacts import digest_of
from pipelines.contracts import Document, UtcTime
from pipelines.errors import CorruptArtifact

FORMAT = 1
DIGEST = r"[0-9a-f]{64}"

Digest = Annotated[str, Field(pattern=f"^{DIGEST}$")]
D = TypeVar("D", bound=Document)


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
        restores: for a rollback, the release whose bundle goes live again; None for a promotion.
        refreshes: for a refresh of the catalogue, the release whose model it goes on with; None otherwise.
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
    restores: int | None = Field(default=None, ge=1)
    refreshes: int | None = Field(default=None, ge=1)

    @property
    def cause(self) -> Literal["promotion", "rollback", "refresh"]:
        """How it came about."""
        return "rollback" if self.restores is not None else "refresh" if self.refreshes is not None else "promotion"

    @model_validator(mode="after")
    def _follows(self) -> "Release":
        if self.number != (self.parent or 0) + 1:
            raise ValueError(f"release {self.number} cannot follow parent {self.parent}; write parent + 1")
        if self.restores is not None and self.restores >= self.number:
            raise ValueError(f"release {self.number} cannot restore release {self.restores}, which is not before it")
        if self.refreshes is not None and (self.refreshes >= self.number or self.restores is not None):
            raise ValueError(f"release {self.number} cannot refresh release {self.refreshes}: that is not before it, "
                             f"or release {self.restores} is restored")
        return self


class Refusal(Document):
    """A release that the store did not take: what it would have been, and why it is not.

    Attributes:
        release: the record that was to be written.
        error: name of the exception, for example ReleaseConflict.
        message: what it said, with the remedy.
        refused_at: when.
        process: host and process id of the promoter.
    """

    release: Release
    error: str
    message: str
    refused_at: UtcTime
    process: str


def sealed(name: str, document: Document) -> bytes:
    """JSON of a document under `name`, with the SHA-256 of its content."""
    body = document.model_dump(mode="json")
    return json.dumps({"format": FORMAT, name: body, "sha256": digest_of(body)}, indent=1, sort_keys=True).encode()


def unsealed(kind: type[D], name: str, content: bytes, where: str) -> D:
    """The document that `sealed` wrote.

    Raises:
        CorruptArtifact: it is torn, changed, or of another kind; the message names `where`.
    """
    try:
        document = json.loads(content)
        body = document[name]
        if document["sha256"] != digest_of(body):
            raise ValueError("its SHA-256 does not fit its content")
        return kind.model_validate(body)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise CorruptArtifact(f"{name} record {where} is torn or was changed ({error}); restore it from a backup of "
                              "the store; what serves now goes on serving") from error
