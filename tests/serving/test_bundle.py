"""A bundle folder is opened whole or refused, by the name of what is wrong."""

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipelines.artifacts import MANIFEST, digest_of, folder_files
from pipelines.errors import BundleRefused
from serving.bundle import REQUIRED, Bundle
from tests.serving.conftest import seal_bundle


def test_opens_with_what_was_written(bundle_folder: Path) -> None:
    bundle = Bundle.load(bundle_folder)
    assert bundle.digest == digest_of(folder_files(bundle_folder))
    assert bundle.num_items == 40
    assert bundle.rows["i07"] == 7
    assert bundle.display(7) == {"item_id": "i07", "title": "Item 7", "category": None, "price": None, "image": None}
    # Item i was bought 40 - i times: the rows are by popularity already.
    assert bundle.popularity.tolist() == list(range(40))
    assert (bundle.limits.visits, bundle.limits.event_types, bundle.limits.user_slots) == (5, 1, 1)


@pytest.mark.parametrize("name", sorted(REQUIRED))
@pytest.mark.parametrize("damage", ["flip", "shorten", "remove"])
def test_each_damaged_file_is_refused_by_name(bundle_folder: Path, name: str, damage: str) -> None:
    path = bundle_folder / name
    content = path.read_bytes()
    if damage == "flip":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "shorten":
        path.write_bytes(content[:-1])
    else:
        path.unlink()
    with pytest.raises(BundleRefused, match=name):
        Bundle.load(bundle_folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"files": 3}', b'{"files": {"spec.json": 1}}'])
def test_a_torn_manifest_is_refused(bundle_folder: Path, content: bytes) -> None:
    (bundle_folder / MANIFEST).write_bytes(content)
    with pytest.raises(BundleRefused, match=MANIFEST):
        Bundle.load(bundle_folder)


def test_surplus_files_and_links_are_refused(bundle_folder: Path) -> None:
    (bundle_folder / "extra.txt").write_text("x")
    with pytest.raises(BundleRefused, match=r"extra\.txt is not in"):
        Bundle.load(bundle_folder)
    (bundle_folder / "extra.txt").unlink()
    outside = bundle_folder.parent / "outside.npy"
    shutil.move(bundle_folder / "popularity.npy", outside)
    os.symlink(outside, bundle_folder / "popularity.npy")
    with pytest.raises(BundleRefused, match=r"popularity\.npy is a link"):
        Bundle.load(bundle_folder)


@pytest.mark.parametrize("name", ["index/scann_docids.pkl", "../outside.npy", "index/../../x.npy", "index/deep/x.npy"])
def test_foreign_names_are_refused_even_with_a_fitting_manifest(bundle_folder: Path, name: str) -> None:
    path = bundle_folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps("code"))
    manifest = json.loads((bundle_folder / MANIFEST).read_text())
    manifest["files"][name] = dict(manifest["files"]["spec.json"])
    (bundle_folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleRefused, match="no bundle holds such a file"):
        Bundle.load(bundle_folder)


def _nan(array: np.ndarray) -> np.ndarray:
    array[3, 0] = np.nan
    return array


@pytest.mark.parametrize(("name", "change", "fault"), [
    ("item_vectors.npy", _nan, "not finite in 1 rows"),
    ("item_vectors.npy", lambda a: a[:-1], "'item_vectors.npy': 39"),
    ("item_inputs.npy", lambda a: a.astype(np.float64), "float64"),
    ("item_inputs.npy", lambda a: a[0], r"\[4\]"),
    ("popularity.npy", np.zeros_like, "each item row once"),
])
def test_whole_files_that_do_not_belong_together_are_refused(bundle_folder, name, change, fault) -> None:
    np.save(bundle_folder / name, change(np.load(bundle_folder / name)))
    with pytest.raises(BundleRefused, match=fault):
        Bundle.load(seal_bundle(bundle_folder))


def test_pickled_arrays_are_refused(bundle_folder: Path) -> None:
    np.save(bundle_folder / "popularity.npy", np.array([{}] * 40, object), allow_pickle=True)
    with pytest.raises(BundleRefused, match="allow_pickle"):
        Bundle.load(seal_bundle(bundle_folder))


@pytest.mark.parametrize("asset", ["/etc/passwd", "../item_vectors.npy", "missing.npy"])
def test_scann_is_led_to_no_file_outside_the_index(bundle_folder: Path, asset: str) -> None:
    config = {"kind": "scann", "leaves": 4, "leaves_to_search": 2, "reorder": 10}
    (bundle_folder / "index/index.json").write_text(json.dumps(config))
    (bundle_folder / "index/scann_assets.pbtxt").write_text(f'assets {{\n  asset_path: "{asset}"\n}}\n')
    with pytest.raises(BundleRefused, match="which index/ does not hold"):
        Bundle.load(seal_bundle(bundle_folder))


def test_an_exact_index_has_no_parts(bundle_folder: Path) -> None:
    (bundle_folder / "index/dataset.npy").write_bytes(b"x")
    with pytest.raises(BundleRefused, match="an exact index has no parts"):
        Bundle.load(seal_bundle(bundle_folder))


def test_another_whole_bundle_is_not_the_one_asked_for(bundle_folder: Path) -> None:
    digest = Bundle.load(bundle_folder).digest
    assert Bundle.load(bundle_folder, digest).digest == digest
    with pytest.raises(BundleRefused, match="is asked for"):
        Bundle.load(bundle_folder, "0" * 64)


def test_tombstones_of_unknown_items_are_no_fault(bundle_folder: Path) -> None:
    (bundle_folder / "tombstones.json").write_text('["i05", "gone"]')
    assert Bundle.load(seal_bundle(bundle_folder)).tombstones.tolist() == [5]
