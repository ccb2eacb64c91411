"""The serving side of the image encoder, on a model whose answers are arithmetic."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.legacy_keras import tf
from pipelines.errors import CorruptArtifact, DataError
from serving.image_encoder import ImageEncoder
from tests.picture_world import png


def exported(path: Path, shape: tuple[int, ...] = (64, 48, 3), name: str = "image", output: str = "vector") -> Path:
    """A model whose vector is the mean of each channel."""
    module = tf.Module()
    module.serve = tf.function(lambda **inputs: {
        output: tf.reduce_mean(tf.cast(inputs[name], tf.float32), axis=[1, 2])})
    signature = module.serve.get_concrete_function(**{name: tf.TensorSpec([None, *shape], tf.uint8, name)})
    tf.saved_model.save(module, str(path.parent / "saved"), signatures={"serving_default": signature})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(path.parent / "saved"))
    path.write_bytes(converter.convert())
    return path


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> ImageEncoder:
    return ImageEncoder(exported(tmp_path_factory.mktemp("model") / "image_encoder.tflite"))


def plain(*reds: int) -> np.ndarray:
    """Pictures of one colour each."""
    images = np.zeros((len(reds), 64, 48, 3), np.uint8)
    images[..., 0], images[..., 2] = np.array(reds)[:, None, None], 9
    return images


def test_batches_of_changing_size_give_each_picture_its_vector(encoder: ImageEncoder) -> None:
    assert encoder.dimension == 3
    for reds in ((1,), (2, 3, 4), tuple(range(150)), (5,), ()):
        assert encoder.vectors(plain(*reds)) == pytest.approx(np.array([[r, 0, 9] for r in reds]).reshape(-1, 3))


def test_an_upload_is_prepared_as_the_catalogue_is(encoder: ImageEncoder) -> None:
    """A black square of 10 x 10 fills 48 of 64 rows; the rest is white: 255 / 4."""
    assert encoder.from_bytes(png(Image.new("RGB", (10, 10)))).tolist() == pytest.approx([63.75] * 3)


def test_threads_do_not_disturb_one_another(encoder: ImageEncoder) -> None:
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda n: encoder.vectors(plain(*[n] * (1 + n % 3)))[-1, 0], range(60)))
    assert got == pytest.approx(list(range(60)))


def test_an_upload_that_is_no_picture_is_named(encoder: ImageEncoder) -> None:
    with pytest.raises(DataError, match="the picture: 5 bytes are no readable image"):
        encoder.from_bytes(b"hello")


@pytest.mark.parametrize("images", [np.zeros((2, 48, 64, 3), np.uint8), np.zeros((2, 64, 48, 3), np.float32)])
def test_images_of_another_shape_or_type_are_named(encoder: ImageEncoder, images: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"expected uint8 .*64, 48, 3"):
        encoder.vectors(images)


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "image_encoder.tflite").write_bytes(b"nothing of the kind")
    with pytest.raises(CorruptArtifact, match=r"image_encoder\.tflite cannot be loaded"):
        ImageEncoder(tmp_path / "image_encoder.tflite")
    with pytest.raises(CorruptArtifact, match=r"missing\.tflite"):
        ImageEncoder(tmp_path / "missing.tflite")


@pytest.mark.parametrize(("shape", "name", "output", "message"), [
    ((64, 64, 3), "image", "vector", r"takes uint8 \[n, \(64, 64, 3\)\], expected uint8 \[n, \(64, 48, 3\)\]"),
    ((64, 48, 3), "photo", "vector", r"takes \['photo'\]"),
    ((64, 48, 3), "image", "score", r"gives \['score'\]"),
])
def test_a_model_of_another_signature_is_refused(
    tmp_path: Path, shape: tuple[int, ...], name: str, output: str, message: str
) -> None:
    with pytest.raises(CorruptArtifact, match=message):
        ImageEncoder(exported(tmp_path / "image_encoder.tflite", shape, name, output))
