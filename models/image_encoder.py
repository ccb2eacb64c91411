"""A shop's own image encoder: learns from the catalogue what a picture tells of its product.

The labels are the product's other features: a picture's vector has to tell the tokens of category, colour, brand
and title words. Nothing comes from outside the shop. Products that are described alike come to lie near one
another, and so do new ones, of which there is only a picture.

There is no gradient descent in it: filters are clustered patches (models/patch_dictionary.py), and what they say of
the tokens is a regression with one solution (models/reduced_rank.py).
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.image_network import ImageNetwork, PatchFeatures
from models.legacy_keras import tf
from models.patch_dictionary import learn_filters, sample_patches
from models.reduced_rank import fit_reduced_rank
from models.token_bags import TokenBags
from pipelines.errors import DataError, TooLittle
from pipelines.image_settings import ImageSettings
from pipelines.progress import Progress, log
from serving.pictures import SHAPE, Pixels

FILE = "image_encoder.tflite"
_BATCH = 64  # pictures: their responses take 100 MB
_LEAST_DEVIATION = 1e-3  # of a feature; one that is next to constant is not blown up

Floats = npt.NDArray[np.float32]


@dataclass
class ImageEncoder:
    """A trained encoder.

    Attributes:
        network: pictures -> vectors.
        dimension: of the vectors.
        pictures: that it learned from.
        tokens: that it learned to tell.
        seconds: of training.
    """

    network: ImageNetwork
    dimension: int
    pictures: int
    tokens: int
    seconds: float

    def vectors(self, images: Pixels) -> Floats:
        """Vectors of length 1, float32 [n, dimension], of thumbnails uint8 [n, HEIGHT, WIDTH, 3]."""
        out = np.empty((len(images), self.dimension), np.float32)
        for first in range(0, len(images), _BATCH):
            part = slice(first, first + _BATCH)
            out[part] = self.network.serve(image=tf.constant(images[part]))["vector"].numpy()
        return out

    def export(self, folder: Path) -> Path:
        """Write image_encoder.tflite into `folder`: input `image` uint8 [n, 64, 48, 3], output `vector`."""
        with tempfile.TemporaryDirectory(prefix="vitrine-image-") as work:
            tf.saved_model.save(self.network, work, signatures={"serving_default": self.network.serve})
            model = tf.lite.TFLiteConverter.from_saved_model(work, signature_keys=["serving_default"]).convert()
        path = folder / FILE
        path.write_bytes(model)
        return path


def fit(images: Pixels, labels: TokenBags, settings: ImageSettings) -> ImageEncoder:
    """Train an encoder on the pictures of a catalogue.

    Args:
        images: thumbnails uint8 [n, HEIGHT, WIDTH, 3] of serving/pictures.py, in memory or memory-mapped.
        labels: the products' tokens, [n] bags; a picture without any is not learned from.
        settings: see ImageSettings.

    Raises:
        DataError: images and labels do not belong together.
        TooLittle: they hold too little to learn from.
    """
    if images.shape[1:] != SHAPE or images.dtype != np.uint8 or len(images) != len(labels):
        raise DataError(f"images are {images.dtype} {list(images.shape)} beside {len(labels)} bags of tokens; "
                        f"give uint8 {[len(labels), *SHAPE]}, as pipelines.pictures makes them")
    started, rng = time.monotonic(), np.random.default_rng(settings.seed)
    rows = np.flatnonzero(np.diff(labels.indptr) > 0)
    if len(rows) > settings.max_pictures:
        rows = np.sort(rng.choice(rows, settings.max_pictures, replace=False))
    bags, count = labels.take(rows).frequent(settings.least_products, settings.max_tokens)
    if count < 2:
        raise TooLittle(f"{len(rows)} pictured products share {count} tokens that {settings.least_products} of them "
                        "have: a picture has nothing to tell apart; give categories, colours or titles")
    log.info("image encoder: learns %s tokens from %s of %s pictures", f"{count:,}", f"{len(rows):,}",
             f"{len(images):,}")
    chosen = np.asarray(images[rows])
    extractor = PatchFeatures(_filters(chosen, settings, rng), settings.threshold)
    features = extract(extractor, chosen)
    mean = features.mean(axis=0)
    features -= mean
    deviation = np.sqrt(np.einsum("nd,nd->d", features, features) / len(features)) + np.float32(_LEAST_DEVIATION)
    features /= deviation
    weights = fit_reduced_rank(features, _targets(bags, count), settings.dimension, settings.ridge)
    weights /= deviation[:, None]
    seconds = time.monotonic() - started
    log.info("image encoder: %s features of %s pictures, trained in %.0f s", f"{extractor.width:,}",
             f"{len(rows):,}", seconds)
    return ImageEncoder(ImageNetwork(extractor, weights, -mean @ weights), settings.dimension, len(rows), count,
                        seconds)


def extract(extractor: PatchFeatures, images: Pixels) -> Floats:
    """Features float32 [n, width] of images [n, HEIGHT, WIDTH, 3]."""
    features = np.empty((len(images), extractor.width), np.float32)
    traced = tf.function(extractor.__call__, input_signature=[tf.TensorSpec([None, *SHAPE], tf.uint8)], autograph=False)
    progress = Progress("image encoder: features", len(images), "pictures")
    for first in range(0, len(images), _BATCH):
        part = slice(first, first + _BATCH)
        features[part] = traced(tf.constant(images[part])).numpy()
        progress.advance(len(images[part]))
    return features


def _filters(images: Pixels, settings: ImageSettings, rng: np.random.Generator) -> list[Floats]:
    """Filters of the fine and the coarse scale."""
    n, height, width, _ = images.shape
    halves = images.reshape(n, height // 2, 2, width // 2, 2, 3).mean(axis=(2, 4), dtype=np.float32)
    filters = []
    for scale, pictures, count in (("fine", images, settings.fine_filters),
                                   ("coarse", halves, settings.coarse_filters)):
        patches = sample_patches(pictures, settings.patches, rng)
        if len(patches) < count:
            raise TooLittle(f"{len(patches)} patches of {n} pictures show anything at the {scale} scale, fewer than "
                            f"the {count} filters: are the pictures blank? Lower {scale}_filters where they are few")
        filters.append(learn_filters(patches, count, rng))
    return filters


def _targets(bags: TokenBags, count: int) -> Floats:
    """[n, count] shares of tokens, less and by the root of their means, as in correspondence analysis.

    So a token weighs by how much it deviates from what chance gives: a rare category as much as a frequent one.
    """
    shares = bags.shares(np.arange(len(bags)), count)
    mean = shares.mean(axis=0)
    shares -= mean
    shares /= np.sqrt(mean)
    return shares
