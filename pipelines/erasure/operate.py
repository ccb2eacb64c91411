"""An erasure as one call: for a form that somebody fills in."""

from datetime import UTC, datetime

from pydantic import Field

from pipelines.contracts import Document, Origin
from pipelines.erasure.erase import erase_user
from pipelines.erasure.receipt import Receipt
from pipelines.erasure.shops import one_known_shop
from pipelines.settings import Settings

FORM_REMAINS = ("Airflow keeps the form of this run, with the id that was typed there: delete the run once the receipt "
                "is filed")


class EraseParams(Document):
    """What a person decides about an erasure.

    Attributes:
        user: any id of the person.
        reason: why; is kept for good, and is not to name the person.
        shop: whose customer; None for the only shop there is.
        dry_run: only say where the person was found.
    """

    user: str = Field(min_length=1, repr=False)
    reason: str = Field(min_length=1)
    shop: str | None = None
    dry_run: bool = True


def erase(params: EraseParams, origin: Origin, places: Settings) -> Receipt:
    """The receipt of an erasure, or of the search alone.

    Raises:
        SettingsError: there is no such shop.
        StoreUnreachable: the record could not be written; nothing is erased for certain.
    """
    shop = one_known_shop(places, params.shop)
    receipt = erase_user(params.user, shop, places, actor=origin.actor, reason=params.reason, at=datetime.now(UTC),
                         is_dry_run=params.dry_run)
    return receipt.model_copy(update={"notes": (*receipt.notes, FORM_REMAINS)})
