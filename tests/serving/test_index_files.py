"""The files of a ScaNN index are checked before ScaNN, which believes whatever it reads, is given them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import CorruptArtifact
from pipelines.index import IndexSettings, build_scann
from serving.index_files import IndexConfig, read_index
from serving.retriever import ScannRetriever

ITEMS, WIDTH = 400, 9
RNG = np.random.default_rng(3)
VECTORS = RNG.normal(size=(ITEMS, WIDTH)).astype(np.float32)
LIST = "scann_assets.pbtxt"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scann") / "index"
    build_scann(VECTORS, VECTORS[:20], IndexSettings(exact_below=100), folder)
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path / "index")
    return tmp_path / "index"


def test_what_the_index_stage_builds_is_accepted_and_searches(folder: Path) -> None:
    config = read_index(folder, VECTORS)
    assert (config.kind, config.leaves) == ("scann", 40)  # 2 sqrt(400)
    rows, _ = ScannRetriever.load(folder, config, VECTORS).search(VECTORS[:1], 1)
    assert rows.shape == (1, 1)


def saved(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / name, change(np.load(folder / name)))


def listed(change: Callable[[str], str]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        text = (folder / LIST).read_text()
        assert change(text) != text
        (folder / LIST).write_text(change(text))

    return rewrite


def one_changed(array: np.ndarray) -> np.ndarray:
    array[7, 2] += 1e-3
    return array


def tokens(value: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda array: np.where(np.arange(len(array)) == 5, value, array).astype(np.int32)


@pytest.mark.parametrize(("damage", "fault"), [
    (lambda f: (f / "ah_codebook.pb").unlink(), r"lacks \['ah_codebook.pb'\]"),
    (lambda f: (f / "scann_docids.pkl").touch(), r"\['scann_docids.pkl'\] too many"),
    # All of these lead ScaNN to the same other file; only the first is a path to whoever looks for quoted ones.
    (listed(lambda t: t.replace('"dataset.npy"', '"../dataset.npy"')), "is not the list"),
    (listed(lambda t: t.replace('"dataset.npy"', "'../dataset.npy'")), "is not the list"),
    (listed(lambda t: t.replace('"dataset.npy"', '"." "./dataset.npy"')), "is not the list"),
    (listed(lambda t: t.replace('"dataset.npy"', r'"\x2e\x2e/dataset.npy"')), "is not the list"),
    (listed(lambda t: t.replace('"dataset.npy"', '"hashed_dataset.npy"')), "is not the list"),
    (listed(lambda t: t + 'assets { asset_type: DATASET_NPY asset_path: "dataset.npy" }'), "is not the list"),
    (listed(lambda t: t + t), "is not the list"), (listed(lambda t: t + "#" * 20_000), "at most 10,000"),
    (saved("dataset.npy", one_changed), "two bundles were mixed"),
    (saved("dataset.npy", lambda a: a[::-1]), "two bundles were mixed"),
    (saved("dataset.npy", lambda a: a[:-1]), r"float32 \[399, 9\] where"),
    (saved("dataset.npy", lambda a: a.astype(np.float64)), "is float64"),
    (saved("hashed_dataset.npy", lambda a: a[:, :-1]), r"uint8 \[400, 4\] where uint8 \[400, 5\]"),
    (saved("datapoint_to_token.npy", tokens(40)), "names leaves 0 to 40 of 40"),
    (saved("datapoint_to_token.npy", tokens(-1)), "names leaves -1 to 39 of 40"),
])
def test_other_parts_are_refused(folder: Path, damage: Callable[[Path], None], fault: str) -> None:
    damage(folder)
    with pytest.raises(ValueError, match=fault):
        read_index(folder, VECTORS)


@pytest.mark.parametrize("change", [
    {"leaves": None}, {"leaves": 0}, {"reorder": 1 << 30}, {"leaves_to_search": "all"}, {"kind": "flat"}, {"x": 1}])
def test_other_configurations_are_refused(folder: Path, change: dict[str, object]) -> None:
    config = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=r"index/index\.json"):
        read_index(folder, VECTORS)
    (folder / "index.json").write_text("{")
    with pytest.raises(CorruptArtifact, match=r"index\.json"):
        read_index(folder, VECTORS)


def test_item_ids_of_scann_are_not_even_unpickled_where_the_checks_were_skipped(folder: Path) -> None:
    (folder / "scann_docids.pkl").write_bytes(b"cos\n_exit\n(I7\ntR.")  # ends the process that unpickles it
    config = IndexConfig(kind="scann", leaves=40, leaves_to_search=40, reorder=400)
    assert ScannRetriever.load(folder, config, VECTORS).search(VECTORS[:1], 3)[0].shape == (1, 3)
