"""What leaves training: matrices, a LiteRT user tower for serving and a SavedModel for the registry."""

from pathlib import Path
from typing import Any

import numpy as np

from models.legacy_keras import tf
from models.training import Fitted
from models.user_tower import UserTower
from pipelines.snapshot import SnapshotData


class ServedTower(tf.Module):
    """The user tower under a fixed signature: inputs as serving/encoding.py makes them, output `vector`."""

    def __init__(self, users: UserTower, spec: dict[str, Any]) -> None:
        super().__init__(name="user_tower")
        self.users = users
        slots, types = spec["visits"], len(spec["event_types"])
        shapes = {
            "visits": ([None, slots, users.dimension], tf.float32), "counts": ([None, slots], tf.float32),
            "types": ([None, slots, types], tf.float32), "gaps": ([None, slots], tf.int32),
            "wait": ([None], tf.int32), "user": ([None, spec["user_slots"]], tf.int32),
        }
        arguments = {name: tf.TensorSpec(shape, kind, name) for name, (shape, kind) in shapes.items()}
        self.serve = tf.function(self._vector).get_concrete_function(**arguments)

    def _vector(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"vector": self.users(inputs)}


def export(fitted: Fitted, data: SnapshotData, out: Path) -> None:
    """Write item_vectors.npy, item_inputs.npy, saved_model/ and user_tower.tflite into `out`."""
    vectors, inputs = fitted.item_matrices()
    np.save(out / "item_vectors.npy", vectors, allow_pickle=False)
    np.save(out / "item_inputs.npy", inputs, allow_pickle=False)
    served = ServedTower(fitted.model.users, data.spec)
    tf.saved_model.save(served, str(out / "saved_model"), signatures={"serving_default": served.serve})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(out / "saved_model"), signature_keys=["serving_default"])
    (out / "user_tower.tflite").write_bytes(converter.convert())
