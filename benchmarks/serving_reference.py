"""What a shop would have instead: the Keras model's `predict` and a product with every item.

    python -m benchmarks.serving_reference --home FOLDER

The same user tower as that of the release in the folder (benchmarks/serving_world.py), the same item vectors and the
same histories, one shopper after the other, without HTTP.
"""

import json
from pathlib import Path
from time import perf_counter, process_time
from typing import Annotated

import numpy as np
import typer

from benchmarks.serving_world import DIMENSION, SHOP, SPEC, TYPES, VISITS, history, user_tower
from serving.encoding import History, Limits, encode
from serving.retriever import best

_HOUR_US = 3_600_000_000


def measure(bundle: Path, answers: int, k: int, seed: int) -> dict[str, float]:
    """Milliseconds an answer, of the clock (median) and of all processors (mean)."""
    from models.legacy_keras import tf

    vectors, inputs = np.load(bundle / "item_vectors.npy"), np.load(bundle / "item_inputs.npy", mmap_mode="r")
    shapes = {"visits": ((VISITS, DIMENSION), tf.float32), "counts": ((VISITS,), tf.float32),
              "types": ((VISITS, len(TYPES)), tf.float32), "gaps": ((VISITS,), tf.int32), "wait": ((), tf.int32),
              "user": ((SPEC["user_slots"],), tf.int32)}
    entries = {name: tf.keras.Input(shape, name=name, dtype=kind) for name, (shape, kind) in shapes.items()}
    model = tf.keras.Model(entries, user_tower(seed)(entries))
    clock, worked = list[float](), 0.0
    for number in range(answers + 3):
        rows, types = history(number, len(vectors))
        began, cpu = perf_counter(), process_time()
        shopper = History(rows.astype(np.int32), np.arange(VISITS, dtype=np.int64) * _HOUR_US, types.astype(np.int16),
                          np.ones(VISITS, np.float32))
        asked = encode([shopper], np.array([VISITS * _HOUR_US]), np.zeros((1, 1), np.int32), inputs,
                       Limits(VISITS, len(TYPES), 1))
        user = model.predict(asked, verbose=0)[0]
        best(vectors @ user, k)
        if number >= 3:  # the first ones trace
            clock.append(1000 * (perf_counter() - began))
            worked += 1000 * (process_time() - cpu)
    return {"p50_ms": float(np.median(clock)), "cpu_ms": worked / answers, "per_s": 1000 * answers / sum(clock)}


def main(
    home: Annotated[Path, typer.Option(exists=True, file_okay=False)],
    answers: Annotated[int, typer.Option(min=1)] = 30,
    k: Annotated[int, typer.Option(min=1)] = 20,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Answer shoppers one by one and print how long it took, as JSON."""
    (bundle,) = (home / "store" / SHOP / "bundles").iterdir()
    print(json.dumps(measure(bundle, answers, k, seed)))


if __name__ == "__main__":
    typer.run(main)
