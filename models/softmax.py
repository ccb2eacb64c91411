"""Full softmax cross-entropy whose logits never leave the cache.

With a whole catalogue behind every question the logits are most of the work of a step, and memory traffic,
not arithmetic, is what they cost. Questions are taken in chunks; loss and gradient of a chunk are computed
while its logits are at hand, and only the gradients are kept (as Wijmans et al. 2025, Cut Your Losses, do on
a GPU). Memory is bounded by the chunk, whatever the catalogue and the batch.
"""

from collections.abc import Callable

from models.legacy_keras import tf

_NEVER = -1e9
_CHUNK_CELLS = 6_000_000  # logits at hand at once, 8 MB


def softmax_loss(
    questions: tf.Tensor, items: tf.Tensor, met: tf.Tensor, target: tf.Tensor, weight: tf.Tensor,
    offsets: tf.Tensor, offset_row: tf.Tensor,
) -> tf.Tensor:
    """Sum over pairs of weight * -log softmax(questions . items + offsets)[pair], and its gradient.

    Args:
        questions: float32 [Q, D].
        items: float32 [N, D].
        met: int32 [M, 2] (question, item) cells that take no part in the softmax, by question.
        target: int32 [P, 2] (question, item) pairs, by question, none of them in `met`.
        weight: float32 [P], a constant.
        offsets: float32 [B, N], a constant; question q takes row `offset_row`[q].
        offset_row: int32 [Q].
    """

    @tf.custom_gradient
    def loss(questions: tf.Tensor, items: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
        total, to_questions, to_items = _by_chunks(questions, items, met, target, weight, offsets, offset_row)
        return total, lambda upstream: (upstream * to_questions, upstream * to_items)

    return loss(questions, items)


def _by_chunks(
    questions: tf.Tensor, items: tf.Tensor, met: tf.Tensor, target: tf.Tensor, weight: tf.Tensor,
    offsets: tf.Tensor, offset_row: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The loss, its gradient by the questions [Q, D] and by the items [N, D]."""
    number = tf.shape(questions)[0]
    size = tf.maximum(_CHUNK_CELLS // tf.shape(items)[0], 1)
    chunks = (number + size - 1) // size
    borders = tf.minimum(tf.range(chunks + 1) * size, number)
    met_ptr = tf.searchsorted(met[:, 0], borders)
    pair_ptr = tf.searchsorted(target[:, 0], borders)

    def chunk(
        i: tf.Tensor, total: tf.Tensor, to_questions: tf.TensorArray, to_items: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray, tf.Tensor]:
        first, last = borders[i], borders[i + 1]
        asked, shift = questions[first:last], tf.stack([first, 0])[None]
        hidden = met[met_ptr[i] : met_ptr[i + 1]] - shift
        pairs, part = target[pair_ptr[i] : pair_ptr[i + 1]] - shift, weight[pair_ptr[i] : pair_ptr[i + 1]]
        logits = tf.matmul(asked, items, transpose_b=True) + tf.gather(offsets, offset_row[first:last])
        logits = tf.tensor_scatter_nd_update(logits, hidden, tf.fill(tf.shape(hidden)[:1], _NEVER))
        logs = tf.nn.log_softmax(logits)
        total -= tf.reduce_sum(part * tf.gather_nd(logs, pairs))
        mass = tf.math.unsorted_segment_sum(part, pairs[:, 0], last - first)
        slope = tf.tensor_scatter_nd_sub(tf.exp(logs) * mass[:, None], pairs, part)
        to_questions = to_questions.write(i, tf.matmul(slope, items))
        return i + 1, total, to_questions, to_items + tf.matmul(slope, asked, transpose_a=True)

    slopes = tf.TensorArray(tf.float32, chunks, infer_shape=False, element_shape=[None, questions.shape[1]])
    _, total, slopes, to_items = tf.while_loop(
        lambda i, *_: i < chunks, chunk, (0, 0.0, slopes, tf.zeros_like(items)), parallel_iterations=1)
    return total, tf.ensure_shape(slopes.concat(), questions.shape), to_items
