"""The user tower as it leaves training: one traced function of fixed names and shapes."""

from typing import Any

from models.legacy_keras import tf
from models.user_tower import UserTower


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
