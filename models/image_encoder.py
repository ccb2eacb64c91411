"""A shop's own image encoder: learns from the catalogue what a picture tells of its product.

The labels are the product's other features: the network's vector has to tell the tokens of category, colour,
brand and title words. Nothing comes from outside the shop. Products that are described alike come to lie near one
another, and so do new ones, of which there is only a picture.
"""

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.image_batches import augmented, batches, halved
from models.image_network import ImageNetwork, ServedNetwork
from models.legacy_keras import tf
from models.token_bags import TokenBags
from pipelines.errors import DataError, VitrineError
from pipelines.image_settings import ImageSettings
from pipelines.progress import Progress, log
from serving.pictures import SHAPE, Pixels

FILE = "image_encoder.tflite"
_INFERENCE_BATCH = 256
_WARM_UP = 0.1  # part of the steps in which the learning rate rises
_SCALE = 16.0  # of the logits, initially; it is learned


@dataclass
class ImageEncoder:
    """A trained encoder."""

    network: ImageNetwork
    settings: ImageSettings
    curve: list[dict[str, float]] = field(default_factory=list)  # step and loss, one entry a round of the catalogue
    seconds: float = 0.0  # of training

    def __post_init__(self) -> None:
        self._served = ServedNetwork(self.network)

    def vectors(self, images: Pixels) -> npt.NDArray[np.float32]:
        """Vectors of length 1, float32 [n, dimension], of thumbnails uint8 [n, HEIGHT, WIDTH, 3]."""
        out = np.empty((len(images), self.settings.dimension), np.float32)
        for first in range(0, len(images), _INFERENCE_BATCH):
            part = slice(first, first + _INFERENCE_BATCH)
            out[part] = self._served.serve(image=tf.constant(images[part]))["vector"].numpy()
        return out

    def export(self, folder: Path) -> Path:
        """Write image_encoder.tflite into `folder`: input `image` uint8 [n, 64, 48, 3], output `vector`."""
        with tempfile.TemporaryDirectory(prefix="vitrine-image-") as work:
            tf.saved_model.save(self._served, work, signatures={"serving_default": self._served.serve})
            model = tf.lite.TFLiteConverter.from_saved_model(work, signature_keys=["serving_default"]).convert()
        path = folder / FILE
        path.write_bytes(model)
        return path


class _Classifier:
    """Which tokens go with a picture: the network, a vector and a bias a token, and one training step.

    loss = -mean_i sum_t share_it log softmax_t(scale * v_i . e_t + b_t): the cross-entropy between a product's bag
    of tokens, as shares of 1, and what its picture lets expect. The biases begin at the log of each token's share,
    so that the network learns from the first step on what sets a product apart, not how frequent words are.
    """

    def __init__(self, network: ImageNetwork, priors: npt.NDArray[np.float32], settings: ImageSettings) -> None:
        self.network = network
        normal = tf.random.normal((len(priors), settings.dimension), stddev=settings.dimension**-0.5)
        self.tokens = tf.Variable(normal)
        self.bias = tf.Variable(np.log(priors))
        self.log_scale = tf.Variable(np.float32(np.log(_SCALE)))
        network(tf.zeros((1, *SHAPE)))  # creates its weights
        self.variables = [*network.trainable_variables, self.tokens, self.bias, self.log_scale]
        self.optimizer = tf.keras.optimizers.AdamW(settings.learning_rate, settings.weight_decay)
        self.optimizer.exclude_from_weight_decay([v for v in self.variables if v.shape.rank < 2])
        self.optimizer.build(self.variables)
        specs = (tf.TensorSpec([None, None, None, 3], tf.uint8), tf.TensorSpec([None, len(priors)], tf.float32))
        self.step = tf.function(self._step, input_signature=specs)

    def _step(self, images: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            vectors = self.network(images, training=True)
            logits = tf.exp(self.log_scale) * tf.matmul(vectors, self.tokens, transpose_b=True) + self.bias
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(shares, logits))
        self.optimizer.apply_gradients(zip(tape.gradient(loss, self.variables), self.variables, strict=True))
        return loss


def fit(images: Pixels, labels: TokenBags, settings: ImageSettings) -> ImageEncoder:
    """Train an encoder on the pictures of a catalogue.

    Args:
        images: thumbnails uint8 [n, HEIGHT, WIDTH, 3] of serving/pictures.py, in memory or memory-mapped.
        labels: the products' tokens, [n] bags.
        settings: see ImageSettings.

    Raises:
        DataError: images and labels do not belong together, or hold too little to learn from.
        VitrineError: the loss is no longer finite.
    """
    if images.shape[1:] != SHAPE or images.dtype != np.uint8 or len(images) != len(labels):
        raise DataError(f"images are {images.dtype} {list(images.shape)} beside {len(labels)} bags of tokens; "
                        f"give uint8 {[len(labels), *SHAPE]}, as pipelines.pictures makes them")
    bags, count = labels.frequent(settings.least_products, settings.max_tokens)
    rows = np.flatnonzero(np.diff(bags.indptr) > 0)
    if count < 2 or len(rows) < 2:
        raise DataError(f"{len(images)} pictured products share {count} tokens that {settings.least_products} of them "
                        "have: a picture has nothing to tell apart; give categories, colours or titles")
    tf.keras.utils.set_random_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    size = min(settings.batch, len(rows))
    steps = max(min(settings.epochs * len(rows), settings.max_pictures) // size, 1)
    encoder = ImageNetwork(settings.dimension, settings.width)
    classifier = _Classifier(encoder, _priors(bags, count), settings)
    log.info("image encoder: %s pictures, %s tokens, %s steps of %s pictures", f"{len(rows):,}", f"{count:,}",
             f"{steps:,}", size)
    started, curve = time.monotonic(), []
    progress, losses = Progress("image encoder", steps * size, "pictures"), []
    for step, chosen in enumerate(batches(len(rows), size, steps, rng)):
        part = rows[chosen]
        pictures = np.asarray(images[part])
        if step < settings.small_share * steps:
            pictures = halved(pictures)
        classifier.optimizer.learning_rate.assign(_rate(step / steps, settings.learning_rate))
        loss = float(classifier.step(tf.constant(augmented(pictures, rng)), tf.constant(bags.shares(part, count))))
        if not np.isfinite(loss):
            raise VitrineError(f"the loss of the image encoder became {loss} in step {step + 1} of {steps}: lower "
                               f"learning_rate, now {settings.learning_rate}")
        losses.append(loss)
        progress.advance(size, f"loss {np.mean(losses):.4f}")
        if len(losses) * size >= len(rows) - size + 1 or step + 1 == steps:
            curve.append({"step": step + 1.0, "loss": float(np.mean(losses))})
            losses = []
    progress.finish(f"loss {curve[-1]['loss']:.4f}")
    return ImageEncoder(encoder, settings, curve, time.monotonic() - started)


def _priors(bags: TokenBags, count: int) -> npt.NDArray[np.float32]:
    """[count] each token's mean share of a bag."""
    rows = np.flatnonzero(np.diff(bags.indptr) > 0)
    total = np.zeros(count)
    for first in range(0, len(rows), _INFERENCE_BATCH):
        total += bags.shares(rows[first : first + _INFERENCE_BATCH], count).sum(axis=0)
    return np.asarray(total / total.sum(), np.float32)


def _rate(done: float, highest: float) -> float:
    """Learning rate after the part `done` of the training: up in a line, down in half a cosine."""
    if done < _WARM_UP:
        return highest * max(done / _WARM_UP, 0.01)
    return highest * 0.5 * (1 + float(np.cos(np.pi * (done - _WARM_UP) / (1 - _WARM_UP))))
