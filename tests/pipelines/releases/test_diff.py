"""Two releases compared from their bundles alone; every expected figure follows from the world's formula."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import BundleRefused, CorruptArtifact
from pipelines.releases.asking import ask
from pipelines.releases.diff import Change, diff
from serving.panel import Panel
from serving.store import ReleaseStore
from tests.release_world import AS_OF, USERS
from tests.serving.conftest import seal_bundle


def of(changes: tuple[Change, ...], name: str) -> tuple[object, object]:
    [found] = [change for change in changes if change.name == name]
    return found.before, found.after


def test_the_prior_turned_round_replaces_three_of_ten(store: ReleaseStore) -> None:
    """Each user keeps the 7 unseen items of the own group; the other 3 are the best of the other groups by prior,
    rows 0 to 3 but the own group's one before, rows 36 to 39 but the own group's after."""
    found = diff(store, 1, 2)
    assert found.churn is not None
    assert (found.churn.shoppers, found.churn.k, found.churn.unchanged) == (2 * USERS, 10, 0)  # of both panels
    assert found.churn.mean == pytest.approx(0.3)
    assert found.churn.most == pytest.approx(0.3)
    assert (found.items.added, found.items.removed, found.items.kept) == (0, 0, 40)
    assert of(found.data, "as_of") == (AS_OF.isoformat().replace("+00:00", "Z"),
                                       (AS_OF + timedelta(days=7)).isoformat().replace("+00:00", "Z"))
    assert of(found.data, "events") == (36, 36)
    assert of(found.metrics, "recall@10") == (0.2, 0.2)
    assert found.features == ()
    assert found.model == ()


def test_settings_and_slices_are_compared_by_name(store: ReleaseStore) -> None:
    found = diff(store, 1, 3)
    assert found.churn is not None
    assert (found.churn.mean, found.churn.unchanged) == (0, 2 * USERS)  # the same vectors
    assert of(found.model, "settings.epochs") == (None, 3)
    assert of(found.metrics, "new_user recall@10") == (0.10, 0.15)
    assert of(found.index, "kind") == ("exact", "exact")
    assert of(found.index, "shoppers recall@10") == (1.0, 1.0)


def changed(store: ReleaseStore, tmp_path: Path, number: int, **renamed: str) -> int:
    """A release of the bundle of release `number` with items renamed; its number."""
    release = store.get(number)
    folder = tmp_path / "changed"
    shutil.copytree(store.bundle_path(release.bundle), folder)
    table = pq.read_table(folder / "items.parquet")
    ids = [renamed.get(item, item) for item in table.column("item_id").to_pylist()]
    pq.write_table(table.set_column(table.column_names.index("item_id"), "item_id", pa.array(ids)),
                   folder / "items.parquet")
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps({**spec, "item_fields": [{"name": "colour", "kind": "categorical"}]}))
    seal_bundle(folder)
    live = store.live()
    assert live is not None
    return store.commit(live.model_copy(update={
        "number": live.number + 1, "parent": live.number, "bundle": store.add_bundle(folder)})).number


def test_items_that_come_and_go_and_new_features_are_named(store: ReleaseStore, tmp_path: Path) -> None:
    found = diff(store, 3, changed(store, tmp_path, 3, i00="new", i39="newer"))
    assert (found.items.added, found.items.removed, found.items.kept) == (2, 2, 38)
    assert found.items.added_examples == ("new", "newer")
    assert found.items.removed_examples == ("i00", "i39")
    assert of(found.features, "item colour") == (None, "categorical")
    # Three of twelve users had i00: asked with what both bundles know, they stay in the panel.
    assert found.churn is not None
    assert found.churn.shoppers == USERS


def test_a_release_or_bundle_that_is_not_there_is_named(store: ReleaseStore) -> None:
    with pytest.raises(CorruptArtifact, match=r"00000009\.json is missing"):
        diff(store, 1, 9)
    store.shelf.remove(store.get(2).bundle)
    with pytest.raises(BundleRefused, match="does not hold bundle"):
        diff(store, 1, 2)


def test_nobody_is_asked_for_first(store: ReleaseStore) -> None:
    folder = store.bundle_path(store.get(1).bundle)
    lists = ask(folder, Panel(), 3)
    assert lists == [["i00", "i01", "i02"]]  # the best prior: nobody has a history
