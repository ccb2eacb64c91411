"""What a shop decides about its storefront."""

from pydantic import Field

from pipelines.contracts import Document


class StorefrontSettings(Document):
    """How the pages look.

    Attributes:
        name: of the shop, at the top of each page.
        currency: ISO 4217 code of the prices, shown before them; None shows numbers alone.
        row: items of a row.
        page: items of a category page or a search, and how many more each "show more" brings.
        personas: customers to shop as; 0 for a shop that must not show the panel's histories to everybody.
        steps: clicks whose effect is told.
    """

    name: str = Field("Vitrine", min_length=1, max_length=60)
    currency: str | None = Field(None, pattern="^[A-Z]{3}$")
    row: int = Field(8, ge=1, le=50)
    page: int = Field(24, ge=1, le=100)
    personas: int = Field(4, ge=0, le=26)
    steps: int = Field(3, ge=1, le=10)
