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
from serving.lite_model import read_signatures

SEQUENCES = ("visits", "counts", "types", "gaps")  # [batch, slots, ...], right-aligned
INPUTS = (*SEQUENCES, "wait", "user")
_REMEDY = "it was not exported by this version's training; train again"


class UserTower:
    """One LiteRT model with its memory; calls from several threads wait for one another.

    The model has a signature for each length of sequence it is exported for; a batch goes to the shortest
    that holds it. Batches may be of any size.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Load a model.

        Args:
            path: user_tower.tflite.
            threads: that a single call may use.

        Raises:
            CorruptArtifact: the file is no LiteRT model, has operators that no tower is made of, or its signatures
                are not the user tower's.
        """
        self.path = Path(path)
        read_signatures(self.path)
        try:
            interpreter = Interpreter(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
            runners = [interpreter.get_signature_runner(key) for key in interpreter.get_signature_list()]
            details = [(runner.get_input_details(), runner.get_output_details()) for runner in runners]
        except (ValueError, RuntimeError, OSError) as error:
            raise CorruptArtifact(f"{path} cannot be loaded as a LiteRT model: {error}; {_REMEDY}") from error
        for inputs, outputs in details:
            if set(inputs) != set(INPUTS) or len(outputs) != 1:
                raise CorruptArtifact(f"{path} takes {sorted(inputs)} and gives {sorted(outputs)}, "
                                      f"expected {sorted(INPUTS)} and one vector; {_REMEDY}")
        if not details:
            raise CorruptArtifact(f"{path} has no signature; {_REMEDY}")
        self._inputs: dict[str, dict[str, Any]] = details[0][0]
        self._output, detail = next(iter(details[0][1].items()))
        self._dimension = int(detail["shape"][-1])
        slots = [int(inputs["visits"]["shape_signature"][1]) for inputs, _ in details]
        self._runners = dict(sorted(zip(slots, runners, strict=True)))
        self._fitting = set[tuple[tuple[int, ...], ...]]()  # shapes that were found right: one for each number of slots
        self._lock = Lock()

    def vectors(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Floats:
        """User vectors [batch, D] of what serving.encoding.encode returns; [0, D] for an empty batch.

        Raises:
            CorruptArtifact: the model was made for other shapes, that is for another specification.
        """
        needed = inputs["counts"].shape[1]
        shapes = tuple([inputs[name].shape[1:] for name in self._inputs])
        if shapes not in self._fitting:
            self._check(inputs, needed)
            self._fitting.add(shapes)
        if not len(inputs["wait"]):
            return np.zeros((0, self._dimension), np.float32)
        size = next(size for size in self._runners if size >= needed)
        arrays = {}
        for name, detail in self._inputs.items():
            array = np.asarray(inputs[name], detail["dtype"])
            if name in SEQUENCES and size > needed:
                filled = np.zeros((len(array), size, *array.shape[2:]), array.dtype)
                filled[:, size - needed :] = array
                array = filled
            arrays[name] = np.ascontiguousarray(array)
        with self._lock:
            vectors: Floats = self._runners[size](**arrays)[self._output]
        return vectors

    def _check(self, inputs: Mapping[str, npt.NDArray[Any]], needed: int) -> None:
        most = max(self._runners)
        for name, detail in self._inputs.items():
            expected = tuple(detail["shape_signature"][1:])
            if name in SEQUENCES:
                expected = (min(needed, most), *expected[1:])
            if inputs[name].shape[1:] != expected:
                raise CorruptArtifact(f"{self.path}: input {name} is [batch, {inputs[name].shape[1:]}] where the model "
                                      f"takes [batch, {expected}] and at most {most} slots; specification and model "
                                      "are of different trainings")
