"""Moving averages of the weights: what is validated and exported is smoother than any single step."""

from collections.abc import Iterator
from contextlib import contextmanager

from models.legacy_keras import tf


class Averages:
    """Exponential moving averages of `variables` (Polyak and Juditsky 1992).

    `decay` is reached step by step, min(decay, (1 + steps) / (10 + steps)), so that initial weights are
    soon forgotten.
    """

    def __init__(self, variables: list[tf.Variable], decay: float) -> None:
        self.variables, self.decay = variables, decay
        self.shadows = [tf.Variable(v, trainable=False) for v in variables]
        self.steps = tf.Variable(0.0, trainable=False)

    def update(self) -> None:
        """Move the averages towards the weights as they are after a step; part of the traced step."""
        self.steps.assign_add(1.0)
        rate = 1.0 - tf.minimum(self.decay, (1.0 + self.steps) / (10.0 + self.steps))
        for shadow, variable in zip(self.shadows, self.variables, strict=True):
            shadow.assign_add(rate * (variable - shadow))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model hold the averages instead of the weights."""
        kept = [v.numpy() for v in self.variables]
        for shadow, variable in zip(self.shadows, self.variables, strict=True):
            variable.assign(shadow)
        try:
            yield
        finally:
            for value, variable in zip(kept, self.variables, strict=True):
                variable.assign(value)
