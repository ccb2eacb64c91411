"""What decides the training of the image encoder, apart from the catalogue."""

from pydantic import Field

from pipelines.contracts import Document


class ImageSettings(Document):
    """One configuration for every catalogue: a small one is seen often, a large one until the budget is spent.

    Attributes:
        dimension: of the vectors.
        width: channels of the network's first stage; each further stage has twice as many.
        epochs: times that each picture is seen.
        max_pictures: pictures seen in all, at most; bounds the time that a large catalogue takes.
        small_share: part of the training on half the height and width, at a quarter of the cost.
        batch: pictures a step.
        learning_rate: the highest, of Adam with decoupled weight decay.
        weight_decay: of kernels and token vectors, a step and unit of learning rate.
        least_products: tokens of fewer pictured products are not learned from.
        max_tokens: the most frequent tokens alone are learned from.
        seed: of initial weights, augmentation and the order of pictures.
    """

    dimension: int = Field(64, ge=4, le=1024)
    width: int = Field(24, ge=4, le=256)
    epochs: int = Field(16, ge=1)
    max_pictures: int = Field(150_000, ge=1)
    small_share: float = Field(0.6, ge=0, le=1)
    batch: int = Field(128, ge=2)
    learning_rate: float = Field(3e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    least_products: int = Field(5, ge=1)
    max_tokens: int = Field(4096, ge=2)
    seed: int = 17
