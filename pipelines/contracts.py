"""What a stage hands to the next: small frozen JSON documents of paths, digests, counts and windows.

Each contract holds the one before it, so that the last carries the whole provenance and every stage
takes a single argument:

    Ingested -> Snapshot -> Trained -> Evaluated -> Registered -> Sealed -> Verdict -> Released
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError(f"{value.isoformat()} has no time zone; write for example {value.isoformat()}+00:00")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:  # the first day of the year 1 and the last of 9999 have no UTC everywhere
        raise ValueError(f"{value.isoformat()} is outside the years 1 to 9999 in UTC") from error


UtcTime = Annotated[datetime, AfterValidator(_utc)]


class Document(BaseModel):
    """A frozen value that refuses unknown fields, so that a typing mistake never passes in silence."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Window(Document):
    """Events with `start` <= time < `as_of`; no `start` means from the log's beginning."""

    as_of: UtcTime
    start: UtcTime | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "Window":
        if self.start is not None and self.start >= self.as_of:
            raise ValueError(f"the window is empty: start {self.start} is not before as_of {self.as_of}")
        return self


class Artifact(Document):
    """A stage's sealed output folder.

    `key` names the inputs (stage, upstream digest, settings), `digest` the content (SHA-256 over the
    manifest's files). Equal keys mean that the work need not be done again.
    """

    path: str
    key: str
    digest: str


class Ingested(Artifact):
    """A validated copy of the source: day partitions of events, and the item and user tables."""

    source: str
    window: Window
    events: int
    items: int
    users: int
    days: int
    first_event: UtcTime
    last_event: UtcTime
    events_before: int = 0  # of the source, left out because they are earlier than the window
    events_after: int = 0  # of the source, left out because they are not before `as_of`
    events_erased: int = 0  # of the window, left out because their people were erased


class Snapshot(Artifact):
    """Encoded tables, histories and split, made from events before `window.as_of` only."""

    ingested: Ingested | None = None  # none where the benchmark encoded a data set folder directly
    window: Window
    users: int
    items: int
    events: int
    train_events: int
    valid_targets: int
    test_targets: int
    valid_from: UtcTime | None = None  # none where each user is cut at their own last events
    test_from: UtcTime | None = None


class Trained(Artifact):
    """Item vectors, the exported user tower and the SavedModel of one training."""

    snapshot: Snapshot
    dimension: int
    epochs: int
    best_epoch: int
    is_refit: bool = False  # trained anew on train and valid after valid had chosen
    valid_recall_at_10: float


class Evaluated(Artifact):
    """Metrics of challenger, baselines and champion on the same events."""

    trained: Trained
    parent: int | None  # number of the release that was live when the challenger was judged
    champion: str | None  # bundle digest of that release
    metrics: dict[str, float]  # challenger: "recall@10", ...
    baselines: dict[str, dict[str, float]]  # model name -> metrics


class Registered(Artifact):
    """The MLflow run and the registered model version."""

    evaluated: Evaluated
    experiment_id: str
    run_id: str
    model_name: str
    model_version: str


class Sealed(Artifact):
    """The serving bundle. `digest` is the bundle's digest; `path` is the sealed folder."""

    registered: Registered
    kind: Literal["exact", "scann"]
    recall: float  # of the index against exact search, at `recall_k`
    recall_k: int
    search_recalls: Mapping[str, float] = {}  # the same of the indexes for words and pictures, where there are such


class Check(Document):
    """One question of the gate with its answer and evidence."""

    name: str
    passed: bool
    value: float | None
    threshold: float | None
    reason: str
    rule: str = ""  # what decided: floor, estimate, non-inferiority, proven loss, bounds, trial


class Verdict(Artifact):
    """The gate's answer. `path` holds verdict.json and verdict.html."""

    sealed: Sealed
    accepted: bool
    checks: tuple[Check, ...]


class Released(Document):
    """An acknowledged record of the release log, or the release that a dry run would have made."""

    number: int
    bundle: str  # bundle digest
    parent: int | None
    as_of: UtcTime
    is_dry_run: bool = False


class Catalogue(Artifact):
    """The shop's item table as it is today, checked: `items.parquet` of the folder."""

    source: str
    items: int


class Refreshed(Artifact):
    """A serving bundle of a model that is live, with the items of a newer catalogue. `digest` is the bundle's digest.

    Counts compare the catalogue with the one that the model was released with.
    """

    source: str
    catalogue: str  # digest of the item table
    base: int  # the release that the model was promoted by
    items: int
    added: int
    changed: int  # of those that both have, with other features
    removed: int
    recall: float  # of the index against exact search, at `recall_k`
    recall_k: int
    search_recalls: Mapping[str, float] = {}


class RefreshVerdict(Artifact):
    """The light gate's answer. `path` holds verdict.json."""

    refreshed: Refreshed
    parent: int  # the release that was live when it was judged
    accepted: bool
    checks: tuple[Check, ...]


class Feeds(Artifact):
    """What the live release recommends to every customer of a window, sealed for e-mail, ads and catalogues."""

    ingested: Ingested
    release: int
    bundle: str  # bundle digest
    as_of: UtcTime
    k: int
    users: int
    fallbacks: int  # places that a best-seller had to fill
    similar: int  # rows of similar_items
    listed: int  # products in each product feed; 0 without them


class LandedDay(Document):
    """Events of one day as a source had them: `events/DAY.parquet` of a landed folder."""

    day: date
    events: int
    replaces: int | None  # revision of the lake that was looked at; none where the day is new
    events_before: int = 0  # of that revision

    @property
    def late(self) -> int:
        """How many events the source has more than the revision that it replaces."""
        return self.events - self.events_before if self.replaces else 0


class Landed(Artifact):
    """A day of a source, written aside: its events, the catalogue, and earlier days that changed since."""

    source: str
    lake: str  # folder
    day: date
    known_at: UtcTime  # end of the interval that is ingested
    first_day: date  # of those looked at
    days: tuple[LandedDay, ...]  # the earlier ones that are to be opened again, and last the day itself
    items: int
    users: int | None  # none where the shop has no such table
    left_out: int = 0  # events of the landing folder whose item the catalogue does not have
    merges: int = 0  # of ids into customers, in force at `known_at`


class Audited(Artifact):
    """The answer of the audit, as `checks.json` of the folder has it."""

    landed: Landed
    accepted: bool
    checks: tuple[Check, ...]


class Published(Document):
    """A day of the lake, and the earlier ones that were opened again with it."""

    lake: str
    day: date
    revision: int
    events: int
    reopened: Mapping[date, int] = {}  # day -> events that came late


class Origin(Document):
    """Who asked for a run and why: goes into tags and release records, never into a digest."""

    actor: str = "cli"
    reason: str = "retrain"
    cause: str = "cli"  # or how Airflow came to run it: scheduled, manual, backfill, asset_triggered
    dag_id: str | None = None
    dag_run_id: str | None = None
    git_revision: str | None = None
