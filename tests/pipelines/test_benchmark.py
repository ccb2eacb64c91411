import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pipelines.benchmark import benchmark
from pipelines.errors import DataError, SettingsError
from pipelines.train_settings import TrainSettings
from tests.world import write_protocol_world, write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_protocol_world(tmp_path_factory.mktemp("data") / "toy", protocol="leave_one_out")


@pytest.mark.parametrize("model", ["popularity", "itemknn", "als"])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_predictions_name_ten_unseen_items_for_every_evaluated_event(
    world: Path, tmp_path: Path, model: str, split: str
) -> None:
    figures = benchmark(world, tmp_path / "new" / "p.parquet", model, split)
    got = pd.read_parquet(tmp_path / "new" / "p.parquet").set_index("row_id")["item_ids"]
    events = pd.read_parquet(world / "events.parquet")
    asked = events[events["eval"] & (events["split"] == split)]
    assert set(got.index) == set(asked["row_id"])
    hits = 0
    for row in asked.itertuples():
        met = set(events[(events["user_id"] == row.user_id) & (events["timestamp"] < row.timestamp)]["item_id"])
        assert len(set(got[row.row_id])) == 10
        assert not met & set(got[row.row_id])
        hits += row.item_id in got[row.row_id]
    assert figures["recall@10"] == pytest.approx(hits / len(asked))
    assert figures["events"] == len(asked)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["p.parquet"]


def test_two_tower_answers_and_the_scorer_agrees(shared: Path, world: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    figures = benchmark(world, out, "two_tower", settings=TrainSettings(max_epochs=2, dimension=8, members=2))
    done = subprocess.run([sys.executable, str(shared / "protocol" / "score.py"), str(world), str(out)],
                          capture_output=True, text=True, check=True)
    expected = json.loads(done.stdout)
    assert expected["answered"] == 1
    assert round(figures["recall@10"], 5) == expected["recall@10"]
    assert round(figures["ndcg@10"], 5) == expected["ndcg@10"]


def test_what_does_not_exist_is_named(world: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="model is 'lightgcn'"):
        benchmark(world, tmp_path / "p.parquet", "lightgcn")
    with pytest.raises(SettingsError, match="split is 'train'"):
        benchmark(world, tmp_path / "p.parquet", "als", "train")
    with pytest.raises(SettingsError, match="settings are for two_tower alone"):
        benchmark(world, tmp_path / "p.parquet", "als", settings=TrainSettings())


def test_a_folder_without_the_protocol_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no events\.parquet"):
        benchmark(tmp_path, tmp_path / "p.parquet", "popularity")
    with pytest.raises(DataError, match="lacks row_id, split, eval"):
        benchmark(write_world(tmp_path / "shop"), tmp_path / "p.parquet", "popularity")
    assert not (tmp_path / "p.parquet").exists()


def test_a_split_without_questions_is_refused(world: Path, tmp_path: Path) -> None:
    folder = tmp_path / "quiet"
    folder.mkdir()
    events = pd.read_parquet(world / "events.parquet")
    events.assign(eval=events["eval"] & (events["split"] != "test")).to_parquet(folder / "events.parquet")
    pd.read_parquet(world / "items.parquet").to_parquet(folder / "items.parquet")
    with pytest.raises(DataError, match="no evaluated test events"):
        benchmark(folder, tmp_path / "p.parquet", "popularity")
