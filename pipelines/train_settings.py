"""What decides a training, apart from the data."""

from pydantic import Field

from pipelines.contracts import Document
from pipelines.image_settings import ImageSettings
from pipelines.search_settings import SearchSettings


class TrainSettings(Document):
    """One configuration for every shop; what has to adapt, adapts to catalogue size and log length.

    Attributes:
        dimension: of a member's item and user vectors.
        blocks, heads, dropout: of the user tower's transformer; dropout also on the bags.
        id_dropout: part of the items whose id embedding is left out of a step.
        calendar_dropout: part of the questions that are asked at no month, weekday and hour, as some are that serve:
            what goes with a basket, a panel of past shoppers. 1 leaves the calendar out.
        learning_rate: of Adam, for all but tables with sparse gradients.
        table_learning_rate: of Adagrad, for the tables of a large catalogue.
        average_decay: of the moving average of the weights, which is what is validated and exported.
        members: models of different random starts, whose vectors stand side by side.
        newcomer_budget: part of the validation recall@10 that may at most be spent for showing new items, without a
            training event, nearly as often where they are wanted as known ones (models/newcomers.py).
        refit: what is released is trained anew on train and valid, for as many epochs as valid found best. A benchmark
            and a search compare trainings on train alone and leave it out.
        max_epochs, patience: stop after `patience` epochs without a better validation recall@10.
        steps: training steps an epoch that a short log is cut into.
        batch_slots: slots of visits, padding included, of a batch of a long log.
        full_softmax_below: catalogues of at most so many items are scored whole in the loss; larger ones by a sample,
            which takes half the time an epoch and learns no worse.
        negatives: uniform negatives a step above that.
        valid_targets: validation events that are ranked after each epoch, at most.
        memory_mb: MiB of the log that are held and shuffled at once; a larger log is read in several windows.
        checkpoint_seconds: a checkpoint is written when so many have passed, and after each epoch.
        mixed_precision: transformer blocks compute in bfloat16, for accelerators that have it; all weights, the
            softmax and what is exported stay in float32.
        seed: of initial weights, dropout and the order of batches.
        search: of the query encoder, which is trained after the towers where products have words.
        pictures: of the image encoder, which is trained after the towers where products have pictures.
    """

    dimension: int = Field(64, ge=4, le=1024)
    blocks: int = Field(2, ge=0, le=12)
    heads: int = Field(2, ge=1, le=16)
    dropout: float = Field(0.5, ge=0, lt=1)
    id_dropout: float = Field(0.1, ge=0, lt=1)
    calendar_dropout: float = Field(0.1, ge=0, le=1)
    learning_rate: float = Field(2e-3, gt=0)
    table_learning_rate: float = Field(0.1, gt=0)
    average_decay: float = Field(0.98, ge=0, lt=1)
    members: int = Field(4, ge=1, le=16)
    newcomer_budget: float = Field(0.05, ge=0, lt=1)
    refit: bool = True
    max_epochs: int = Field(30, ge=1)
    patience: int = Field(4, ge=1)
    steps: int = Field(64, ge=1)
    batch_slots: int = Field(4096, ge=64)
    full_softmax_below: int = Field(10_000, ge=0)
    negatives: int = Field(1024, ge=1)
    valid_targets: int = Field(10_000, ge=1)
    memory_mb: int = Field(512, ge=1)
    checkpoint_seconds: float = Field(120, ge=0)
    mixed_precision: bool = False
    seed: int = Field(17, ge=0)
    search: SearchSettings = SearchSettings()
    pictures: ImageSettings = ImageSettings()
