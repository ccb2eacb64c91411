"""The chunked softmax against the plain expression."""

import numpy as np
import pytest

from models import softmax
from models.legacy_keras import tf
from models.softmax import softmax_loss


def plain(
    questions: tf.Tensor, items: tf.Tensor, met: np.ndarray, target: np.ndarray, weight: np.ndarray,
    offsets: np.ndarray, offset_row: np.ndarray,
) -> tf.Tensor:
    logits = tf.matmul(questions, items, transpose_b=True) + offsets[offset_row]
    allowed = np.ones(logits.shape, bool)
    allowed[tuple(met.T)] = False
    normaliser = tf.reduce_logsumexp(tf.where(allowed, logits, -np.inf), axis=1)
    return tf.reduce_sum(weight * (tf.gather(normaliser, target[:, 0]) - tf.gather_nd(logits, target)))


@pytest.mark.parametrize("cells", [1, 21, 35, 10**6])  # chunks of 1, 3, 5 and all questions of 7 items
def test_loss_and_gradients_are_those_of_the_plain_expression(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    monkeypatch.setattr(softmax, "_CHUNK_CELLS", cells)
    rng = np.random.default_rng(3)
    questions, items = (tf.constant(rng.normal(size=(n, 4)), tf.float32) for n in (11, 7))
    cell = rng.permutation(11 * 7)[:30]
    met, target = (np.stack(np.divmod(np.sort(part), 7), axis=1).astype(np.int32) for part in (cell[:12], cell[12:]))
    weight = rng.uniform(0.1, 2, len(target)).astype(np.float32)
    offsets, offset_row = rng.normal(size=(3, 7)).astype(np.float32), rng.integers(0, 3, 11).astype(np.int32)
    found = []
    for loss in (softmax_loss, plain):
        with tf.GradientTape() as tape:
            tape.watch([questions, items])
            value = 3.0 * loss(questions, items, met, target, weight, offsets, offset_row)
        found.append((value, *tape.gradient(value, [questions, items])))
    for ours, theirs in zip(*found, strict=True):
        assert ours.numpy() == pytest.approx(theirs.numpy(), rel=1e-4, abs=1e-5)


def test_a_question_without_answer_has_no_part_in_it() -> None:
    questions = tf.constant([[1.0, 0.0], [5.0, 5.0]])
    items = tf.constant([[1.0, 0.0], [0.0, 1.0]])
    with tf.GradientTape() as tape:
        tape.watch(questions)
        loss = softmax_loss(questions, items, np.zeros((0, 2), np.int32), np.array([[0, 0]], np.int32),
                            np.ones(1, np.float32), np.zeros((1, 2), np.float32), np.zeros(2, np.int32))
    assert float(loss) == pytest.approx(np.log(1 + np.exp(-1)))  # logits 1 and 0
    assert tape.gradient(loss, questions).numpy()[1].tolist() == [0, 0]
