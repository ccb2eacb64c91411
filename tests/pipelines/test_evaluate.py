"""The arithmetic shop of release_world with questions: every rank is known by hand.

After training, users buy on, one item a day: user u < 8 buys u % 4 + 12 (valid), then u % 4 + 16 (test). User 12 is
new and buys item 5 (test). score(user, i) = 2 * (events of the user in group i % 4) + (40 - i) / 1000.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipelines.artifacts import FORMAT, MANIFEST, folder_files, read_json, seal, verify, write_json
from pipelines.contracts import Evaluated, Ingested, Snapshot, Trained, Window
from pipelines.errors import BundleRefused, DataError, SettingsError
from pipelines.evaluate import EvaluateSettings, evaluate
from pipelines.snapshot import TEST, TRAIN, VALID
from serving.bundle import write_bundle
from serving.bundle_files import INDEX_CONFIG
from serving.store import Release, ReleaseStore
from tests.release_world import AS_OF, ITEMS, item_arrays, user_tower
from tests.small_snapshot import Event, small_snapshot

SETTINGS = EvaluateSettings(bootstrap_samples=20)
KEY = "0" * 64


def events() -> list[Event]:
    found: list[Event] = [(u, u % 4 + 4 * step, step, "buy", TRAIN, False) for step in range(3) for u in range(12)]
    found += [(u, u % 4 + 12, 3, "buy", VALID, True) for u in range(8)]
    found += [(u, u % 4 + 16, 4, "buy", TEST, True) for u in range(8)]
    return [*found, (12, 5, 4, "buy", TEST, True)]


def make_trained(root: Path, key: str = KEY, shop: list[Event] | None = None, **spec: Any) -> Trained:
    def snapshot_files(out: Path) -> dict[str, Any]:
        small_snapshot(out, shop or events(), users=13, items=ITEMS)
        write_json(out / "spec.json", read_json(out / "spec.json") | {
            "event_types": ["buy"], "event_weights": {"buy": 1.0}} | spec)
        return {"window": Window(as_of=AS_OF), "users": 13, "items": ITEMS, "events": 53, "train_events": 36,
                "valid_targets": 8, "test_targets": 9}

    snapshot = seal(Snapshot, root, "features", key, snapshot_files)

    def trained_files(out: Path) -> dict[str, Any]:
        for name, array in zip(("item_vectors", "item_inputs"), item_arrays(), strict=True):
            np.save(out / f"{name}.npy", array)
        (out / "user_tower.tflite").write_bytes(user_tower())
        write_json(out / "settings.json", {"key": key})
        return {"snapshot": snapshot, "dimension": 4, "epochs": 1, "best_epoch": 1, "valid_recall_at_10": 0.2}

    return seal(Trained, root, "train", key, trained_files)


def release(store: Path, folder: Path, trained: Trained, number: int = 1, change: Any = None) -> Release:
    """Put the training into the store as a release; `change` may edit the bundle's folder first."""
    folder.mkdir()
    write_bundle(folder, Path(trained.path), Path(trained.snapshot.path), {})
    write_json(folder / INDEX_CONFIG, {"kind": "exact"})
    if change is not None:
        change(folder)
    write_json(folder / MANIFEST, {"format": FORMAT, "stage": "index", "key": KEY, "files": folder_files(folder)})
    releases = ReleaseStore(store)
    record = Release(
        number=number, parent=number - 1 or None, bundle=releases.add_bundle(folder), training=trained.digest,
        verdict=KEY, as_of=AS_OF, actor="test", reason="test", created_at=datetime(2026, 11, 2, tzinfo=UTC),
        metrics={}, run_id="r", model_name="vitrine", model_version="1",
    )
    return releases.commit(record)


def rename_items(**renamed: str) -> Any:
    """Edit of a bundle: another id for the items named."""
    def change(folder: Path) -> None:
        items = pd.read_parquet(folder / "items.parquet")
        items["item_id"] = items["item_id"].replace(renamed)
        items.to_parquet(folder / "items.parquet")
    return change


def ranks(evaluated: Evaluated, model: str) -> list[int]:
    found: list[int] = np.load(Path(evaluated.path) / f"rank_{model}.npy").tolist()
    return found


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluated, Path]:
    """An evaluation without a champion, and the folder that it was made in."""
    home = tmp_path_factory.mktemp("home")
    return evaluate(make_trained(home / "artifacts"), ReleaseStore(home / "store"), SETTINGS, home / "artifacts"), home


def test_the_challengers_ranks_are_those_of_arithmetic(first: tuple[Evaluated, Path]) -> None:
    evaluated, _ = first
    # Users 0 to 7 have met g, g + 4, g + 8 and g + 12 of their group g: the best unseen one is g + 16, the answer.
    # To the new user all groups are alike and the prior decides: item 5 is sixth.
    assert ranks(evaluated, "two_tower") == [1] * 8 + [6]
    assert evaluated.metrics["recall@10"] == 1
    masks = dict(zip(read_json(Path(evaluated.path) / "slices.json"), np.load(Path(evaluated.path) / "slices.npy"),
                     strict=True))
    assert masks["new_user"].tolist() == [False] * 8 + [True]
    assert evaluated.metrics["ndcg@10"] == pytest.approx((8 + 1 / np.log2(7)) / 9)
    document = read_json(Path(evaluated.path) / "metrics.json")
    assert document["two_tower"]["slices"]["new_user"] == {
        "events": 1, "recall@10": 1.0, "ndcg@10": pytest.approx(1 / np.log2(7))}
    assert document["two_tower"]["slices"]["short_history_1_to_4"]["events"] == 8


def test_popularity_stands_beside_it_on_the_same_events(first: tuple[Evaluated, Path]) -> None:
    evaluated, _ = first
    # Items 0 to 11 were bought by three users each, nothing else was. User u has met three of those and 12 + g:
    # nine popular ones come first, then 12, 13, 14, 15 but for the one met, then 16 + g: rank 9 + 3 + g + 1.
    assert ranks(evaluated, "popularity") == [13, 14, 15, 16] * 2 + [6]
    assert evaluated.baselines["popularity"]["recall@10"] == pytest.approx(1 / 9)
    assert evaluated.baselines["popularity"]["recall@50"] == 1
    assert set(evaluated.baselines) == {"popularity", "als", "itemknn", "ease"}


def test_the_folder_holds_what_it_promises(first: tuple[Evaluated, Path]) -> None:
    evaluated, _ = first
    folder = Path(evaluated.path)
    verify(folder)
    models = read_json(folder / "models.json")
    assert models == ["two_tower", "popularity", "als", "itemknn", "ease"]
    shown = np.load(folder / "exposure.npy")
    assert shown.shape == (5, ITEMS)
    assert shown.sum(axis=1).tolist() == [9 * 10] * 5  # nine questions, ten items each
    targets = pq.read_table(folder / "targets.parquet").to_pydict()
    assert targets["user_id"] == [f"u{n}" for n in range(8)] + ["u12"]
    assert targets["item_id"] == [f"i{n % 4 + 16}" for n in range(8)] + ["i5"]
    assert targets["context"] == [4] * 8 + [0]
    assert targets["row_id"] == list(range(144, 153))  # the 45th event and on; rows begin at 100
    differences = read_json(folder / "differences.json")
    assert differences["popularity"]["recall@10"]["mean"] == pytest.approx(8 / 9)
    document = read_json(folder / "metrics.json")
    assert all(low <= document["als"]["metrics"][name] <= high
               for name, (low, high) in document["als"]["intervals"].items())


def test_again_it_returns_what_was_sealed(first: tuple[Evaluated, Path]) -> None:
    evaluated, home = first
    again = evaluate(evaluated.trained, ReleaseStore(home / "store"), SETTINGS, home / "artifacts")
    assert again == evaluated
    shorter = SETTINGS.model_copy(update={"ks": (10,)})
    other = evaluate(evaluated.trained, ReleaseStore(home / "store"), shorter, home / "artifacts")
    assert other.key != evaluated.key


def test_equal_inputs_give_equal_bytes(first: tuple[Evaluated, Path], tmp_path: Path) -> None:
    evaluated, _ = first
    again = evaluate(make_trained(tmp_path), ReleaseStore(tmp_path / "store"), SETTINGS, tmp_path)
    assert again.digest == evaluated.digest


def test_a_champion_of_the_same_vectors_draws_level(tmp_path: Path) -> None:
    live = release(tmp_path / "store", tmp_path / "bundle", make_trained(tmp_path, "1" * 64))
    evaluated = evaluate(make_trained(tmp_path), ReleaseStore(tmp_path / "store"), SETTINGS, tmp_path)
    assert (evaluated.parent, evaluated.champion) == (1, live.bundle)
    assert ranks(evaluated, "champion") == ranks(evaluated, "two_tower")
    # The nine who ask are shown the very same ten.
    assert np.load(Path(evaluated.path) / "shared.npy").tolist() == [10] * 9
    assert "champion" not in evaluated.baselines
    assert read_json(Path(evaluated.path) / "models.json")[-1] == "champion"


def test_a_champion_has_rows_of_its_own_and_cannot_show_what_it_does_not_know(tmp_path: Path) -> None:
    # In the champion's catalogue the ids of items 16 and 17 stand at one another's place and 18 is unknown.
    change = rename_items(i16="i17", i17="i16", i18="no longer sold")
    release(tmp_path / "store", tmp_path / "bundle", make_trained(tmp_path, "1" * 64), change=change)
    evaluated = evaluate(make_trained(tmp_path), ReleaseStore(tmp_path / "store"), SETTINGS, tmp_path)
    found = ranks(evaluated, "champion")
    # User 0 looks for i16, which the champion holds for one of group 1, with which the user has nothing to do: its
    # score is the prior .023 of row 17. Before it stand the six of group 0 left, i17 in i16's place among them (rows
    # 16, 20, ..., 36), and the unseen ones of other groups in rows below 17: 1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15.
    assert found[0] == found[4] == 6 + 12 + 1
    assert found[2] == found[6] == 0  # i18
    assert found[3] == found[7] == 1  # i19 as ever
    # User 12 is as new to the champion.
    assert found[8] == 6


def test_what_was_bought_of_items_unknown_to_the_champion_is_no_taste(tmp_path: Path) -> None:
    # All that user 3 has met, and users 7 and 11, is unknown: to the champion they are new.
    change = rename_items(i3="a", i7="b", i11="c", i15="d")
    release(tmp_path / "store", tmp_path / "bundle", make_trained(tmp_path, "1" * 64), change=change)
    found = ranks(evaluate(make_trained(tmp_path), ReleaseStore(tmp_path / "store"), SETTINGS, tmp_path), "champion")
    # The prior alone: i19 comes after the fifteen of 0 to 18 that are known and unseen.
    assert found[3] == found[7] == 16


def test_a_repeated_run_is_judged_against_the_release_before_it(tmp_path: Path) -> None:
    old, new = make_trained(tmp_path, "1" * 64), make_trained(tmp_path)
    live = release(tmp_path / "store", tmp_path / "old", old)
    before = evaluate(new, ReleaseStore(tmp_path / "store"), SETTINGS, tmp_path)
    release(tmp_path / "store", tmp_path / "new", new, number=2, change=lambda f: write_json(f / "provenance.json", 1))
    assert evaluate(new, ReleaseStore(tmp_path / "store"), SETTINGS, tmp_path) == before
    assert before.champion == live.bundle


def test_the_store_of_another_shop_is_refused(tmp_path: Path) -> None:
    change = rename_items(**{f"i{n}": f"other {n}" for n in range(ITEMS)})
    release(tmp_path / "store", tmp_path / "bundle", make_trained(tmp_path, "1" * 64), change=change)
    with pytest.raises(SettingsError, match="knows none of the snapshot's 40 items"):
        evaluate(make_trained(tmp_path), ReleaseStore(tmp_path / "store"), SETTINGS, tmp_path)
    assert not list((tmp_path / "evaluate").iterdir())


def test_a_corrupt_champion_is_refused_not_skipped(tmp_path: Path) -> None:
    live = release(tmp_path / "store", tmp_path / "bundle", make_trained(tmp_path, "1" * 64))
    vectors = ReleaseStore(tmp_path / "store").bundle_path(live.bundle) / "item_vectors.npy"
    vectors.write_bytes(vectors.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleRefused, match=r"item_vectors\.npy"):
        evaluate(make_trained(tmp_path), ReleaseStore(tmp_path / "store"), SETTINGS, tmp_path)


def test_a_champions_users_are_encoded_with_its_own_vocabulary(tmp_path: Path) -> None:
    from models.bundle_scorer import BundleScorer
    from pipelines.snapshot import SnapshotData
    from serving.bundle import Bundle

    # The champion knows token 1 for France and token 2 for anything else; 0 is "not known".
    def change(folder: Path) -> None:
        write_json(folder / "spec.json", read_json(folder / "spec.json") | {
            "user_fields": [{"name": "country", "kind": "categorical"}]})
        write_json(folder / "vocabulary.json", {"users": [
            {"name": "country", "kind": "categorical", "first": 1, "unknown": 2, "values": {"France": 1}}]})

    trained = make_trained(tmp_path)
    live = release(tmp_path / "store", tmp_path / "bundle", trained, change=change)
    bundle = Bundle.load(ReleaseStore(tmp_path / "store").bundle_path(live.bundle))
    data = SnapshotData.load(trained.snapshot.path)
    users = pd.DataFrame({"user_id": ["u1", "u0", "u3"], "country": ["Peru", "France", None]})
    assert BundleScorer.of(bundle, data, users).user_tokens[:4].tolist() == [[1], [2], [0], [0]]
    assert not BundleScorer.of(bundle, data, None).user_tokens.any()


def test_users_come_from_the_ingested_folder(tmp_path: Path) -> None:
    from pipelines.requests import users_table

    trained = make_trained(tmp_path)
    assert users_table(trained.snapshot) is None
    lake = tmp_path / "lake"
    lake.mkdir()
    ingested = Ingested(path=str(lake), key=KEY, digest=KEY, source="shop", window=Window(as_of=AS_OF), events=1,
                        items=1, users=1, days=1, first_event=AS_OF, last_event=AS_OF)
    snapshot = trained.snapshot.model_copy(update={"ingested": ingested})
    assert users_table(snapshot) is None
    pd.DataFrame({"user_id": ["007"]}).to_parquet(lake / "users.parquet")
    found = users_table(snapshot)
    assert found is not None
    assert found["user_id"].tolist() == ["007"]


def test_a_window_with_nothing_to_ask_is_refused(tmp_path: Path) -> None:
    quiet = [(*event[:5], False) if event[4] == TEST else event for event in events()]
    with pytest.raises(DataError, match="no event of the test window is evaluated"):
        evaluate(make_trained(tmp_path, shop=quiet), ReleaseStore(tmp_path / "store"), SETTINGS, tmp_path)


def test_too_many_targets_are_sampled_the_same_way_each_time(tmp_path: Path) -> None:
    few = SETTINGS.model_copy(update={"max_targets": 4, "baselines": ("popularity",)})
    one, two = (evaluate(make_trained(tmp_path / name), ReleaseStore(tmp_path / "store"), few, tmp_path / name)
                for name in "ab")
    assert len(ranks(one, "two_tower")) == 4
    assert one.digest == two.digest
    assert json.loads((Path(one.path) / "models.json").read_text()) == ["two_tower", "popularity"]
