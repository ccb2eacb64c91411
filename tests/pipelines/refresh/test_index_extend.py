"""An extended ScaNN index: it finds what was put in, nothing that was taken out, and as much as one that is built."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import DataError
from pipelines.index import IndexSettings, build_scann
from pipelines.index_extend import Wanted, extend, extend_all
from pipelines.index_tuning import ExactAnswers
from pipelines.search_spaces import SHOPPERS, Space
from serving.bundle_files import INDEX, ITEM_VECTORS
from serving.encoding import Floats
from serving.index_files import read_index
from serving.retriever import ScannRetriever

ITEMS, WIDTH = 3000, 9
WANTED = Wanted()


@dataclass(frozen=True)
class Built:
    bundle: Path
    vectors: Floats


def drawn(count: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(20, WIDTH))
    return (centres[rng.integers(20, size=count)] + 0.5 * rng.normal(size=(count, WIDTH))).astype(np.float32)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    bundle, vectors = tmp_path_factory.mktemp("bundle"), drawn(ITEMS, 1)
    np.save(bundle / ITEM_VECTORS, vectors)
    build_scann(vectors, drawn(50, 2), IndexSettings(), bundle / INDEX)
    return Built(bundle, vectors)


def changed(vectors: Floats, length: int) -> Floats:
    """Of another length, and with other vectors in a tenth of the rows."""
    result = np.concatenate([vectors, drawn(length, 3)])[:length]
    result[::10] = drawn(len(result[::10]), 4)
    return result


@pytest.mark.parametrize("length", [ITEMS - 200, ITEMS, ITEMS + 200])
def test_it_is_of_the_new_vectors_and_finds_them(built: Built, tmp_path: Path, length: int) -> None:
    new, folder = changed(built.vectors, length), tmp_path / INDEX
    queries = np.concatenate([drawn(100, 5), new[::30]])
    found = extend(built.bundle / INDEX, built.vectors, new, queries, WANTED, folder)
    config = read_index(folder, new)
    retriever = ScannRetriever.load(folder, config, new)
    assert found >= WANTED.recall_target
    assert found == ExactAnswers(new, queries, WANTED.recall_k).recall(retriever)
    # Each vector that was put in is the nearest to itself in direction: none is lost, none stands for another.
    scaled = new / np.linalg.norm(new, axis=1, keepdims=True)
    alone = built.vectors / np.linalg.norm(built.vectors, axis=1, keepdims=True)
    build_scann(alone, scaled[:50], IndexSettings(), tmp_path / "unit")
    extend(tmp_path / "unit", alone, scaled, scaled[:50], WANTED, tmp_path / "extended")
    nearest, _ = ScannRetriever.load(tmp_path / "extended", read_index(tmp_path / "extended", scaled), scaled).search(
        scaled, 1)
    assert (nearest[:, 0] == np.arange(length)).mean() > 0.99


def test_the_same_change_gives_the_same_bytes(built: Built, tmp_path: Path) -> None:
    new = changed(built.vectors, ITEMS + 50)
    for name in ("one", "other"):
        extend(built.bundle / INDEX, built.vectors, new, drawn(20, 5), WANTED, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(files) == 8
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes() for name in files)


def test_what_is_not_finite_never_reaches_scann(built: Built, tmp_path: Path) -> None:
    new = changed(built.vectors, ITEMS)
    new[7, 2] = np.nan
    np.save(tmp_path / ITEM_VECTORS, new)
    space = Space(SHOPPERS, INDEX, (ITEM_VECTORS,), drawn(5, 6))
    with pytest.raises(DataError, match=r"1 of 3,000 vectors of item_vectors\.npy are not finite, the first in row 7"):
        extend_all(built.bundle, tmp_path, [space], WANTED)


def test_a_process_of_its_own_extends_and_measures(built: Built, tmp_path: Path) -> None:
    new = changed(built.vectors, ITEMS + 10)
    np.save(tmp_path / ITEM_VECTORS, new)
    recalls = extend_all(built.bundle, tmp_path, [Space(SHOPPERS, INDEX, (ITEM_VECTORS,), drawn(50, 6))], WANTED)
    assert recalls[SHOPPERS] > 0.9
    assert read_index(tmp_path / INDEX, new).kind == "scann"
