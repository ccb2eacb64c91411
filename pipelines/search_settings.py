"""What decides the training of text search, apart from the catalogue and its vectors."""

from pydantic import Field

from pipelines.contracts import Document


class SearchSettings(Document):
    """One configuration for every shop.

    Attributes:
        text_dimension: columns of the text block beside the behaviour vectors; 0 searches by behaviour alone.
        steps: of training, at least.
        asked: queries that training makes of the average item; a large catalogue takes more steps for it.
        most_steps: that it may take, unless `steps` is more.
        batch: synthetic queries a step.
        candidates: items in a step's softmax, the queries' own among them; all of a smaller catalogue.
        learning_rate: of Adagrad at the first step; it falls to a hundredth in a straight line.
        corrupted: part of the words of synthetic queries that are misspelt, cut off or read by n-grams alone.
        match: logit that a shared word is worth before training, in a product of a single word.
        max_buckets: of hashed n-grams, at most.
        seed: of initial vectors and synthetic queries.
    """

    text_dimension: int = Field(128, ge=0, le=1024)
    steps: int = Field(1000, ge=1)
    asked: int = Field(100, ge=0)
    most_steps: int = Field(2500, ge=1)
    batch: int = Field(512, ge=1)
    candidates: int = Field(8192, ge=2)
    learning_rate: float = Field(0.3, gt=0)
    corrupted: float = Field(0.1, ge=0, lt=1)
    match: float = Field(15.0, gt=0)
    max_buckets: int = Field(16_384, ge=256)
    seed: int = 17

    def steps_of(self, items: int) -> int:
        """Training steps for a catalogue of so many items."""
        return max(self.steps, min(-(-self.asked * items // self.batch), self.most_steps))
