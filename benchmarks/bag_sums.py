"""Sums over bags of tokens with their gradient, beside TensorFlow's product of a sparse matrix and a table.

    python -m benchmarks.bag_sums --snapshot .vitrine/artifacts/features/KEY
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

_ROUNDS = 30


def milliseconds(call: Callable[[Any], Any], table: Any, upstream: Any) -> float:
    """Median milliseconds of the product of a call and its gradient by the table."""
    from models.legacy_keras import tf

    def both() -> Any:
        with tf.GradientTape() as tape:
            summed = call(table)
            loss = tf.reduce_sum(summed * upstream)
        return loss, tape.gradient(loss, table)

    traced = tf.function(both, autograph=False)
    traced()
    taken = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        traced()
        taken.append(time.perf_counter() - began)
    return 1000 * float(np.median(taken))


def main(snapshot: Annotated[Path, typer.Option(help="Folder of the features stage.", exists=True)],
         dimension: Annotated[int, typer.Option(min=1, help="Numbers of a token.")] = 128) -> None:
    """Time both on the items of a snapshot, after a look that both compute the same.

    Example: `python -m benchmarks.bag_sums --snapshot .vitrine/artifacts/features/KEY`
    """
    from models.bag_sums import BagSums
    from models.legacy_keras import tf
    from pipelines.snapshot import SnapshotData

    data = SnapshotData.load(snapshot)
    indptr, tokens, weights = data.item_tokens_indptr, np.asarray(data.item_tokens), np.asarray(data.item_token_weights)
    count = max(data.spec["item_token_count"], 1)
    table = tf.Variable(tf.random.normal((count, dimension)))
    upstream = tf.random.normal((data.num_items, dimension))
    rows = np.repeat(np.arange(data.num_items), np.diff(indptr))
    matrix = tf.SparseTensor(np.stack([rows, tokens], axis=1).astype(np.int64), weights, (data.num_items, count))
    sums = BagSums(indptr, tokens, weights, count)
    np.testing.assert_allclose(sums(table), tf.sparse.sparse_dense_matmul(matrix, table), atol=1e-3)
    ours = milliseconds(sums, table, upstream)
    theirs = milliseconds(lambda table: tf.sparse.sparse_dense_matmul(matrix, table), table, upstream)
    typer.echo(f"{data.num_items:,} items, {len(tokens):,} entries, {count:,} tokens: {ours:.1f} ms, "
               f"sparse_dense_matmul {theirs:.1f} ms, {theirs / ours:.1f} times as long")


if __name__ == "__main__":
    typer.run(main)
