"""The exported image encoder under LiteRT: vectors of pictures without TensorFlow, for search by image."""

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from pipelines.errors import CorruptArtifact, DataError
from serving.lite_model import read_signatures
from serving.pictures import SHAPE, Pixels, thumbnail

INPUT, OUTPUT = "image", "vector"
_REMEDY = "it was not exported by this version's training; train again"
# Resizing LiteRT's buffers costs memory for the largest batch ever asked for.
_BATCH = 64


class ImageEncoder:
    """One LiteRT model with its memory; calls from several threads wait for one another.

    Tensors are found by their names in the model's only signature; batches may be of any size.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Load a model.

        Args:
            path: image_encoder.tflite.
            threads: that a single call may use.

        Raises:
            CorruptArtifact: the file is no LiteRT model, has operators that no encoder is made of, or its signature
                is not the image encoder's.
        """
        self.path = Path(path)
        read_signatures(self.path)
        try:
            interpreter = Interpreter(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
            self._runner = interpreter.get_signature_runner()
            inputs: dict[str, dict[str, Any]] = self._runner.get_input_details()
            outputs: dict[str, dict[str, Any]] = self._runner.get_output_details()
        except (ValueError, RuntimeError, OSError) as error:
            raise CorruptArtifact(f"{path} cannot be loaded as a LiteRT model: {error}; {_REMEDY}") from error
        if set(inputs) != {INPUT} or set(outputs) != {OUTPUT}:
            raise CorruptArtifact(f"{path} takes {sorted(inputs)} and gives {sorted(outputs)}, expected "
                                  f"{INPUT!r} and {OUTPUT!r}; {_REMEDY}")
        shape, kind = tuple(inputs[INPUT]["shape_signature"][1:].tolist()), np.dtype(inputs[INPUT]["dtype"])
        if shape != SHAPE or kind != np.uint8:
            raise CorruptArtifact(f"{path} takes {kind} [n, {shape}], expected uint8 [n, {SHAPE}]; {_REMEDY}")
        self.dimension = int(outputs[OUTPUT]["shape"][-1])
        self._lock = Lock()

    def vectors(self, images: Pixels) -> npt.NDArray[np.float32]:
        """Vectors of length 1, float32 [n, dimension], of thumbnails uint8 [n, 64, 48, 3] of serving/pictures.py.

        Raises:
            DataError: the images are of another shape or type.
        """
        if images.shape[1:] != SHAPE or images.dtype != np.uint8:
            raise DataError(f"images are {images.dtype} {list(images.shape)}, expected uint8 {['n', *SHAPE]}; "
                            "make them with serving.pictures.thumbnail")
        out = np.empty((len(images), self.dimension), np.float32)
        for first in range(0, len(images), _BATCH):
            part = slice(first, first + _BATCH)
            with self._lock:
                out[part] = self._runner(**{INPUT: np.ascontiguousarray(images[part])})[OUTPUT]
        return out

    def from_bytes(self, data: bytes, where: str = "the picture") -> npt.NDArray[np.float32]:
        """Vector of length 1, float32 [dimension], of an image file such as a shopper's upload.

        Args:
            data: bytes of PNG, JPEG, or what else Pillow reads.
            where: what the message of an error calls them.

        Raises:
            DataError: the bytes are no image that Pillow reads, or too large a one.
        """
        vector: npt.NDArray[np.float32] = self.vectors(thumbnail(data, where)[None])[0]
        return vector
