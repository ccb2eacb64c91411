"""What decides the training of the image encoder, apart from the catalogue."""

from pydantic import Field

from pipelines.contracts import Document


class ImageSettings(Document):
    """One configuration for every catalogue.

    Attributes:
        dimension: of the vectors.
        fine_filters: patch filters on the whole thumbnail.
        coarse_filters: patch filters on half its height and width.
        threshold: that a filter's response has to exceed, in deviations.
        ridge: penalty of the regression, in units of a feature's mean square.
        max_pictures: a random choice of so many pictures is learned from where the catalogue has more; time and
            memory grow with their square.
        patches: sampled a scale for the filters.
        least_products: tokens of fewer pictured products are not learned from.
        max_tokens: the most frequent tokens alone are learned from.
        seed: of patches, filters and the choice of pictures.
    """

    dimension: int = Field(64, ge=4, le=1024)
    fine_filters: int = Field(256, ge=1, le=4096)
    coarse_filters: int = Field(512, ge=1, le=4096)
    threshold: float = Field(0.8, ge=0)
    ridge: float = Field(0.03, gt=0)
    max_pictures: int = Field(8_000, ge=2)
    patches: int = Field(60_000, ge=100)
    least_products: int = Field(5, ge=1)
    max_tokens: int = Field(2048, ge=2)
    seed: int = 17
