"""Full softmax cross-entropy that never holds all its logits.

With a whole catalogue behind every question the logits are most of the work of a step, and memory traffic,
not arithmetic, is what they cost. Questions are taken in chunks; loss and gradient of a chunk are computed
while its logits are at hand, and only the gradients are kept (as Wijmans et al. 2025, Cut Your Losses, do on
a GPU). Memory is bounded by the chunk, whatever the catalogue and the batch.
"""

from collections.abc import Callable

from models.legacy_keras import tf

_NEVER = -1e9
_CHUNK_CELLS = 6_000_000  # logits at hand at once, 24 MB


def softmax_loss(
    questions: tf.Tensor, items: tf.Tensor, met: tf.Tensor, target: tf.Tensor, weight: tf.Tensor,
    offsets: tf.Tensor, offset_row: tf.Tensor,
) -> tf.Tensor:
    """Sum over pairs of weight * -log softmax(questions . items + offsets)[pair], and its gradient.

    Args:
        questions: float32 [Q, D].
        items: float32 [N, D].
        met: int32 [M, 2] (question, item) cells that take no part in the softmax, by question.
        target: int32 [P, 2] (question, item) pairs, none of them in `met`.
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
    """The loss, its gradient by the questions [Q, D] and by the items [N, D].

    Of a question q with targets of weight w in sum, the loss is w * log Z(q) - sum of weight * logit. The second part
    needs no logits but the targets' own; of all logits what is left to do is a product, a softmax and two products.
    """
    number = tf.shape(questions)[0]
    size = tf.maximum(_CHUNK_CELLS // tf.shape(items)[0], 1)
    chunks = (number + size - 1) // size
    borders = tf.minimum(tf.range(chunks + 1) * size, number)
    met_ptr = tf.searchsorted(met[:, 0], borders)
    # Offsets as columns of the product: adding them to the logits would be two more passes over those.
    asked = tf.concat([questions, tf.one_hot(offset_row, tf.shape(offsets)[0])], axis=1)
    offered = tf.concat([items, tf.transpose(offsets)], axis=1)
    of_question, of_item = target[:, 0], target[:, 1]
    mass = tf.math.unsorted_segment_sum(weight, of_question, number)[:, None]
    weighed = mass * questions
    logits = tf.reduce_sum(tf.gather(asked, of_question) * tf.gather(offered, of_item), axis=1)

    def chunk(
        i: tf.Tensor, total: tf.Tensor, means: tf.TensorArray, to_items: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray, tf.Tensor]:
        first, last = borders[i], borders[i + 1]
        hidden = met[met_ptr[i] : met_ptr[i + 1]] - tf.stack([first, 0])[None]
        logits = tf.matmul(asked[first:last], offered, transpose_b=True)
        logits = tf.tensor_scatter_nd_update(logits, hidden, tf.fill(tf.shape(hidden)[:1], _NEVER))
        share = tf.nn.softmax(logits)
        log_z = tf.reduce_max(logits, axis=1) - tf.math.log(tf.reduce_max(share, axis=1))
        total += tf.reduce_sum(mass[first:last, 0] * log_z)
        means = means.write(i, tf.matmul(share, items))
        return i + 1, total, means, to_items + tf.matmul(share, weighed[first:last], transpose_a=True)

    means = tf.TensorArray(tf.float32, chunks, infer_shape=False, element_shape=[None, questions.shape[1]])
    _, total, means, to_items = tf.while_loop(
        lambda i, *_: i < chunks, chunk, (0, -tf.reduce_sum(weight * logits), means, tf.zeros_like(items)),
        parallel_iterations=1)
    to_questions = mass * tf.ensure_shape(means.concat(), questions.shape)
    to_questions -= tf.math.unsorted_segment_sum(weight[:, None] * tf.gather(items, of_item), of_question, number)
    to_items -= tf.math.unsorted_segment_sum(
        weight[:, None] * tf.gather(questions, of_question), of_item, tf.shape(items)[0])
    return total, to_questions, to_items
