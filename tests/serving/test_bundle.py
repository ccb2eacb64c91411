"""A bundle folder is opened whole or refused, by the name of what is wrong."""

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipelines.artifacts import MANIFEST, digest_of, folder_files
from pipelines.errors import BundleRefused, CorruptArtifact
from serving.bundle import Bundle
from serving.bundle_files import REQUIRED
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


@pytest.mark.parametrize("name", [
    "index/scann_docids.pkl", "../outside.npy", "index/../../outside.npy", "/outside.npy"])
def test_foreign_names_are_refused_even_in_the_manifest(bundle_folder: Path, name: str) -> None:
    # Hostile names are only told, never written to: joined to a folder, an absolute one would leave it.
    (bundle_folder / "index/scann_docids.pkl").write_bytes(pickle.dumps("code"))
    manifest = json.loads((bundle_folder / MANIFEST).read_text())
    manifest["files"][name] = dict(manifest["files"]["spec.json"])
    (bundle_folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleRefused, match=f"{name} stands in {MANIFEST}, but no bundle holds such a file"):
        Bundle.load(bundle_folder)


def _nan(array: np.ndarray) -> np.ndarray:
    array[3, 0] = np.nan
    return array


@pytest.mark.parametrize(("name", "change", "fault"), [
    ("item_vectors.npy", _nan, "not finite in 1 rows"),
    ("item_vectors.npy", lambda a: a[:-1], r"popularity\.npy is int64 \[40\] where int64 \[39\]"),
    ("item_vectors.npy", lambda a: a[:0], r"is \[0, 5\]: there is nothing to recommend"),
    ("item_inputs.npy", lambda a: a.astype(np.float64), "is float64"),
    ("item_inputs.npy", lambda a: a[0], r"float32 \[4\] where"),
    ("item_inputs.npy", lambda a: a[:, :3], r"takes visits as float32 \[-1, 5, 4\] where the specification needs"),
    ("item_vectors.npy", lambda a: a[:, :4], r"gives vector as float32 \[-1, 5\] where .* float32 \[-1, 4\]"),
    ("popularity.npy", np.zeros_like, "each item row once"),
    ("popularity.npy", lambda a: a.astype(np.float64), "is float64"),
])
def test_whole_files_that_do_not_belong_together_are_refused(bundle_folder, name, change, fault) -> None:
    np.save(bundle_folder / name, change(np.load(bundle_folder / name)))
    with pytest.raises(BundleRefused, match=fault):
        Bundle.load(seal_bundle(bundle_folder))


def test_pickled_arrays_are_refused(bundle_folder: Path) -> None:
    np.save(bundle_folder / "popularity.npy", np.array([{}] * 40, object), allow_pickle=True)
    with pytest.raises(BundleRefused, match=r"popularity\.npy is object"):
        Bundle.load(seal_bundle(bundle_folder))


@pytest.mark.parametrize(("field", "value", "fault"), [
    ("visits", 0, "visits"), ("visits", 6, "one of them has to take the 6 visits"), ("visits", 4, "takes 5 slots"),
    ("event_types", [], "event_types"), ("event_types", ["purchase", "view"], r"types as float32 \[-1, 5, 1\]"),
    ("event_types", ["a", "b"], r"weighs events \['purchase'\] of"),
    ("user_slots", 2, r"user as int32 \[-1, 1\]"), ("user_slots", "1000000", "user_slots"),
    ("display", {"title": "nme"}, "lacks the columns"), ("display", {"secret": "name"}, "secret"),
])
def test_a_specification_that_is_not_the_towers_is_refused(bundle_folder, field, value, fault) -> None:
    spec = json.loads((bundle_folder / "spec.json").read_text())
    (bundle_folder / "spec.json").write_text(json.dumps(spec | {field: value}))
    with pytest.raises(BundleRefused, match=fault):
        Bundle.load(seal_bundle(bundle_folder))


def test_what_is_written_while_it_is_opened_is_noticed(bundle_folder: Path) -> None:
    bundle = Bundle.load(bundle_folder)
    bundle.require_unchanged()
    # The very same bytes: who can write them could have written others in between.
    (bundle_folder / "popularity.npy").write_bytes((bundle_folder / "popularity.npy").read_bytes())
    with pytest.raises(CorruptArtifact, match=r"popularity\.npy changed while"):
        bundle.require_unchanged()


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
