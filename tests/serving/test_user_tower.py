from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import CorruptArtifact
from serving.encoding import Limits, encode
from serving.user_tower import UserTower
from tests.release_world import GROUPS, NOW_US, VISITS, history_of, item_arrays, user_tower

Inputs = dict[str, np.ndarray]


@pytest.fixture
def tower(tmp_path: Path) -> UserTower:
    (tmp_path / "user_tower.tflite").write_bytes(user_tower())
    return UserTower(tmp_path / "user_tower.tflite")


def inputs(*users: int) -> Inputs:
    return encode([history_of(user) for user in users], np.full(len(users), NOW_US),
                  np.zeros((len(users), 1), np.int32), item_arrays()[1], Limits(VISITS, 1, 1))


def expected(*users: int) -> list[list[float]]:
    """Three events of group user % 4, and the constant 1."""
    return [[3.0 * (group == user % 4) for group in range(GROUPS)] + [1.0] for user in users]


def test_batches_of_changing_size_give_each_user_its_vector(tower: UserTower) -> None:
    for users in ((0,), (1, 2, 3), (3,), (5, 4, 7, 6), (1, 2, 3)):
        assert tower.vectors(inputs(*users)).tolist() == expected(*users)


def test_an_empty_batch_gives_no_vectors(tower: UserTower) -> None:
    nobody = {name: array[:0] for name, array in inputs(0).items()}
    assert tower.vectors(nobody).shape == (0, GROUPS + 1)


def test_short_histories_are_padded_to_what_the_model_takes(tower: UserTower) -> None:
    assert inputs(0)["counts"].shape[1] < VISITS
    padded = {name: np.pad(array, [(0, 0), (VISITS - array.shape[1], 0)] + [(0, 0)] * (array.ndim - 2))
              if name in ("visits", "counts", "types", "gaps") else array for name, array in inputs(0).items()}
    assert tower.vectors(padded).tolist() == tower.vectors(inputs(0)).tolist() == expected(0)


def test_a_result_outlives_the_next_call(tower: UserTower) -> None:
    first = tower.vectors(inputs(0))
    tower.vectors(inputs(1))
    assert first.tolist() == expected(0)


def test_threads_do_not_disturb_one_another(tower: UserTower) -> None:
    asked = [(n % 4,) * (1 + n % 3) for n in range(60)]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda users: tower.vectors(inputs(*users)).tolist(), asked))
    assert got == [expected(*users) for users in asked]


def test_inputs_of_another_specification_are_named(tower: UserTower) -> None:
    wrong = inputs(0) | {"visits": np.zeros((1, VISITS + 1, GROUPS), np.float32)}
    with pytest.raises(CorruptArtifact, match="input visits"):
        tower.vectors(wrong)


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "user_tower.tflite").write_bytes(b"nothing of the kind")
    with pytest.raises(CorruptArtifact, match=r"user_tower\.tflite cannot be loaded"):
        UserTower(tmp_path / "user_tower.tflite")
    with pytest.raises(CorruptArtifact, match=r"missing\.tflite"):
        UserTower(tmp_path / "missing.tflite")
