"""What a release is trained on: train and valid, for as many epochs as valid chose, and nothing of test."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import training
from models.newcomer_share import NewcomerShare
from models.release_data import with_valid
from models.window import Window
from pipelines.histories import train_counts
from pipelines.protocol import encode_protocol
from pipelines.snapshot import TEST, TRAIN, VALID, SnapshotData
from pipelines.train_settings import TrainSettings
from tests.world import write_protocol_world

SETTINGS = TrainSettings(dimension=8, blocks=1, max_epochs=3, members=2, dropout=0.1, learning_rate=0.01)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> SnapshotData:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "out").mkdir()
    encode_protocol(write_protocol_world(folder / "in", users=60, items=20), folder / "out")
    data = SnapshotData.load(folder / "out")
    # Rows 16 and 17 are sold from valid on, 18 and 19 in test alone.
    h = data.histories
    item = np.where((h.item >= 16) & (h.split == TRAIN) | (h.item >= 18) & (h.split == VALID), h.item - 9, h.item)
    histories = replace(h, item=item.astype(np.int32))
    return replace(data, histories=histories, item_counts=train_counts(histories, data.num_items))


def test_valid_becomes_train_and_test_stays(shop: SnapshotData) -> None:
    h, joined = shop.histories, with_valid(shop)
    assert ((joined.histories.split == TEST) == (h.split == TEST)).all()
    assert (joined.histories.split == TRAIN).sum() == (h.split != TEST).sum()
    # Counted anew, by another way than the code's.
    expected = [int(((h.item == i) & (h.split != TEST) & (h.weight > 0)).sum()) for i in range(shop.num_items)]
    assert joined.item_counts.tolist() == expected
    assert (h.split == VALID).any()  # the snapshot itself is as it was
    assert Window.of(joined).is_ahead == Window.of(shop).is_ahead


def test_each_member_trains_for_its_best_number_of_epochs(
    shop: SnapshotData, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "vitrine"):
        fitted = training.fit(shop, SETTINGS)
    of_member = [[e["valid_recall@10"] for e in fitted.curves if e["member"] == number] for number in (1, 2)]
    assert fitted.epochs == [1 + int(np.argmax(curve)) for curve in of_member]
    for number, epochs in enumerate(fitted.epochs, 1):
        assert f"member {number} of 2 on train and valid, {epochs} epochs" in caplog.text


def test_new_items_keep_their_share_of_the_demand(shop: SnapshotData, caplog: pytest.LogCaptureFixture) -> None:
    settings = SETTINGS.model_copy(update={"members": 1, "max_epochs": 2})
    chosen = training.fit(shop, settings.model_copy(update={"refit": False}))
    with caplog.at_level("INFO", "vitrine"):
        released = training.fit(shop, settings)
    valid, joined = shop.queries(VALID), with_valid(shop)
    was_new, is_new = shop.item_counts == 0, joined.item_counts == 0
    assert np.flatnonzero(was_new).tolist() == [16, 17, 18, 19]
    assert np.flatnonzero(is_new).tolist() == [18, 19]
    share = NewcomerShare.of(chosen.members.current(), shop, valid, was_new).at(0)
    assert NewcomerShare.of(released.members.current(), joined, valid, is_new).at(0) == pytest.approx(share, rel=1e-4)
    assert released.newcomer_offset != pytest.approx(chosen.newcomer_offset, abs=1e-3)
    assert "2 items without an event of train and valid" in caplog.text


def test_test_events_change_nothing(shop: SnapshotData, tmp_path: Path) -> None:
    h = shop.histories
    other = np.where(h.split == TEST, (h.item + 7) % shop.num_items, h.item).astype(np.int32)
    changed = replace(shop, histories=replace(h, item=other))
    settings = SETTINGS.model_copy(update={"members": 1, "max_epochs": 1})
    vectors = [training.fit(data, settings).members.item_matrices()[0] for data in (shop, changed)]
    np.testing.assert_array_equal(vectors[0], vectors[1])
    # And valid events do, so that the comparison can fail.
    moved = np.where(h.split == VALID, (h.item + 7) % shop.num_items, h.item).astype(np.int32)
    moved_vectors = training.fit(replace(shop, histories=replace(h, item=moved)), settings).members.item_matrices()[0]
    assert not np.allclose(vectors[0], moved_vectors)
    alone = training.fit(shop, settings.model_copy(update={"refit": False})).members.item_matrices()[0]
    assert not np.allclose(vectors[0], alone)
