"""The exported user tower under LiteRT: user vectors without TensorFlow, in a fraction of a millisecond."""

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from pipelines.errors import CorruptArtifact
from serving.encoding import Floats

INPUTS = ("visits", "counts", "types", "gaps", "wait", "user")
_REMEDY = "it was not exported by this version's training; train again"


class UserTower:
    """One LiteRT model with its memory; calls from several threads wait for one another.

    Tensors are found by their names in the model's only signature; batches may be of any size.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Load a model.

        Args:
            path: user_tower.tflite.
            threads: that a single call may use.

        Raises:
            CorruptArtifact: the file is no LiteRT model, or its signature is not the user tower's.
        """
        self.path = Path(path)
        try:
            interpreter = Interpreter(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
            self._runner = interpreter.get_signature_runner()
            self._inputs: dict[str, dict[str, Any]] = self._runner.get_input_details()
            outputs: dict[str, dict[str, Any]] = self._runner.get_output_details()
        except (ValueError, RuntimeError, OSError) as error:
            raise CorruptArtifact(f"{path} cannot be loaded as a LiteRT model: {error}; {_REMEDY}") from error
        if set(self._inputs) != set(INPUTS) or len(outputs) != 1:
            raise CorruptArtifact(f"{path} takes {sorted(self._inputs)} and gives {sorted(outputs)}, "
                                  f"expected {sorted(INPUTS)} and one vector; {_REMEDY}")
        self._output, detail = next(iter(outputs.items()))
        self._dimension = int(detail["shape"][-1])
        self._lock = Lock()

    def vectors(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Floats:
        """User vectors [batch, D] of what serving.encoding.encode returns; [0, D] for an empty batch.

        Raises:
            CorruptArtifact: the model was made for other shapes, that is for another specification.
        """
        for name, detail in self._inputs.items():
            rest, expected = inputs[name].shape[1:], tuple(detail["shape_signature"][1:])
            if len(rest) != len(expected) or any(e not in (-1, r) for e, r in zip(expected, rest, strict=True)):
                raise CorruptArtifact(f"{self.path}: input {name} is [batch, {rest}] where the model takes "
                                      f"[batch, {expected}]; specification and model are of different trainings")
        if not len(inputs["wait"]):
            return np.zeros((0, self._dimension), np.float32)
        arrays = {name: np.ascontiguousarray(inputs[name], detail["dtype"]) for name, detail in self._inputs.items()}
        with self._lock:
            vectors: Floats = self._runner(**arrays)[self._output]
        return vectors
