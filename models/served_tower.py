"""The user towers as they leave training: one traced function of fixed names and shapes."""

from collections.abc import Sequence
from typing import Any

from models.legacy_keras import tf
from models.user_tower import UserTower
from serving.encoding import Limits

SEQUENCES = ("visits", "counts", "types", "gaps")  # [batch, slots, ...]
_SHORTEST = 4


def slot_sizes(visits: int) -> tuple[int, ...]:
    """Lengths of sequences that are exported: 4, 8, 16, ... and `visits` itself.

    Most shoppers have few visits: a tower that reads 8 slots does a sixth of the work of one that reads 50,
    and empty slots change nothing in its answer.
    """
    return (*(_SHORTEST << power for power in range(16) if _SHORTEST << power < visits), visits)


class ServedTower(tf.Module):
    """The user tower under a fixed signature: inputs as serving/encoding.py makes them, output `vector`."""

    def __init__(self, towers: Sequence[UserTower], spec: dict[str, Any]) -> None:
        super().__init__(name="user_tower")
        self.towers, self.dimension = list(towers), towers[0].dimension
        types, limits = len(spec["event_types"]), Limits.of(spec)
        shapes = {
            "visits": ([None, None, len(towers) * self.dimension], tf.float32), "counts": ([None, None], tf.float32),
            "types": ([None, None, types], tf.float32), "gaps": ([None, None], tf.int32),
            "wait": ([None], tf.int32), "user": ([None, limits.user_width], tf.int32),
        }
        arguments = {name: tf.TensorSpec(shape, kind, name) for name, (shape, kind) in shapes.items()}
        self.function = tf.function(self._vector, autograph=False).get_concrete_function(**arguments)
        self.sizes = slot_sizes(spec["visits"])

    def of_size(self, slots: int) -> Any:
        """The same function for sequences of exactly `slots`: LiteRT is fast only on shapes it knows."""
        arguments = {}
        for name, spec in self.function.structured_input_signature[1].items():
            shape = spec.shape.as_list()
            if name in SEQUENCES:
                shape[1] = slots
            arguments[name] = tf.TensorSpec(shape, spec.dtype, name)
        return tf.function(self._vector, autograph=False).get_concrete_function(**arguments)

    def _vector(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        parts = tf.split(inputs["visits"], len(self.towers), axis=-1)
        vectors = [tower({**inputs, "visits": part}) for tower, part in zip(self.towers, parts, strict=True)]
        # Every tower's last column is the 1 that takes the prior: one of them is enough.
        return {"vector": tf.concat([*(vector[:, :-1] for vector in vectors), vectors[0][:, -1:]], axis=1)}
