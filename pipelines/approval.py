"""An approval by a person, between the gate's verdict and the promotion: the answer, and where it is recorded."""

from typing import Literal

from pydantic import Field

from pipelines.contracts import Document, Origin, UtcTime, Verdict
from pipelines.errors import ReleaseRejected, TrackingError
from pipelines.progress import log
from pipelines.promote import release_of
from pipelines.releases.champion import refused
from pipelines.releases.opening import open_store
from pipelines.settings import Settings

Decision = Literal["approved", "rejected", "not asked"]


class Approval(Document):
    """What came of asking a person.

    Attributes:
        decision: "not asked" where the form does not want it, or nothing would be released anyway.
        by: who answered; None where nobody did.
        at: when.
        comment: what they wrote; the reason, where nobody was asked.
    """

    decision: Decision
    by: str | None = None
    at: UtcTime | None = None
    comment: str = Field(default="", max_length=2000)

    @property
    def text(self) -> str:
        """The answer as a line: "approved by ada: as agreed"."""
        return f"{self.decision}{f' by {self.by}' if self.by else ''}{f': {self.comment}' if self.comment else ''}"


def record(verdict: Verdict, answer: Approval, origin: Origin, places: Settings) -> None:
    """Tag the challenger's run and model version with the answer, and put a rejection among the store's refusals.

    Raises:
        StoreUnreachable: the store cannot be opened; nothing is recorded then.
    """
    from pipelines import tracking

    log.info("approval: bundle %s %s", verdict.sealed.digest[:12], answer.text)
    try:
        tracking.tag(verdict.sealed.registered, {"vitrine.approval": answer.text}, places)
    except TrackingError as trouble:
        log.warning("the answer stands with the run in Airflow and not in MLflow: %s", trouble)
    if answer.decision == "rejected":
        who = f"{answer.by} rejected it" if answer.by else "nobody approved it in time"
        error = ReleaseRejected(f"the gate accepted bundle {verdict.sealed.digest[:12]}, and {who}"
                                f"{f': {answer.comment}' if answer.comment else ''}; what is live stays")
        release = release_of(verdict, origin)
        open_store(places).refuse(release, error)
        refused(release, str(error), places)


def approved(origin: Origin, answer: Approval) -> Origin:
    """The origin of a promotion, with who approved it in the reason that the release record keeps."""
    if answer.decision != "approved":
        return origin
    return origin.model_copy(update={"reason": f"{origin.reason}; {answer.text}"})
