"""How long housekeeping leaves things alone, and what it tells."""

from datetime import timedelta

from pydantic import Field

from pipelines.contracts import Document


class Bounds(Document):
    """What is left alone.

    Attributes:
        keep_bundles: bundles before the live one, and models before the live one's, to roll back to.
        grace_hours: how long a bundle stays after it was added, was live, or was leased.
        attempt_hours: a folder of an attempt in which nothing was written for so long is of a killed process. More than
            the longest stage may take.
        checkpoint_days: checkpoints of a training that was never taken up again.
        refresh_days: folders of refreshed catalogues; a release has its own copy, and they are made again in minutes.
        run_hours: an MLflow run that says for so long that it is running is of a killed process.
        log_days: files of Airflow's task logs.
    """

    keep_bundles: int = Field(3, ge=0)
    grace_hours: float = Field(1, ge=0)
    attempt_hours: float = Field(48, gt=0)
    checkpoint_days: float = Field(14, gt=0)
    refresh_days: float = Field(2, gt=0)
    run_hours: float = Field(48, gt=0)
    log_days: float = Field(30, gt=0)

    @property
    def grace(self) -> timedelta:
        """Of bundles."""
        return timedelta(hours=self.grace_hours)


class Tidied(Document):
    """One kind of thing in one place.

    Attributes:
        what: of which kind.
        where: shop or folder.
        found: how many are older than their bound.
        removed: how many of these were dealt with; none in a dry run.
        size: bytes of what was found; 0 where they cannot be told.
        examples: the first few.
    """

    what: str
    where: str
    found: int
    removed: int = 0
    size: int = 0
    examples: tuple[str, ...] = ()


class Housekept(Document):
    """What a call of housekeeping found and did."""

    is_dry_run: bool
    tidied: tuple[Tidied, ...]
