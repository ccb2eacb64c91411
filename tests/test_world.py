"""The toy shop is what its docstring says."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.world import item_id, right_answer, write_protocol_world, write_world


def test_right_answers_by_hand() -> None:
    # 24 items: rings 0..11 and 12..23.
    assert [right_answer(item) for item in ("000", "011", "012", "023")] == ["001", "000", "013", "012"]


@settings(max_examples=15, deadline=None)
@given(users=st.integers(2, 40), half=st.integers(5, 30), seed=st.integers(0, 99))
def test_every_step_is_the_right_answer_to_the_one_before(users: int, half: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = write_world(Path(name), users, 2 * half, seed)
        events = pd.read_parquet(folder / "events.parquet")
        items = pd.read_parquet(folder / "items.parquet")
        country = pd.read_parquet(folder / "users.parquet").set_index("user_id")["country"]
    category = items.set_index("item_id")["category"]
    steps = events[events["event_type"] != "return"]
    for user, own in steps.groupby("user_id"):
        ids = own["item_id"].tolist()
        assert len(set(ids)) == len(ids) >= 4
        assert ids[1:] == [right_answer(i, 2 * half) for i in ids[:-1]]
        half_of = {"Arcadia": {"apple"}, "Borea": {"bear"}}
        assert pd.isna(country[user]) or set(category[ids]) == half_of[country[user]]
    returns = events[events["event_type"] == "return"]
    assert set(returns["user_id"]) == {f"u{n:03d}" for n in range(0, users, 5)}


@pytest.mark.parametrize("protocol", ["temporal", "leave_one_out"])
def test_perfect_predictions_score_one(tmp_path: Path, shared: Path, protocol: str) -> None:
    folder = write_protocol_world(tmp_path / "world", protocol=protocol)  # type: ignore[arg-type]
    events = pd.read_parquet(folder / "events.parquet")
    asked = events[events["eval"] & (events["split"] == "test")]
    lists = []
    for row, user, item in asked[["row_id", "user_id", "item_id"]].itertuples(index=False):
        met = set(events.loc[(events["user_id"] == user) & (events["row_id"] < row), "item_id"])
        lists.append([item, *(i for i in map(item_id, range(24)) if i not in met and i != item)][:10])
    pd.DataFrame({"row_id": asked["row_id"], "item_ids": lists}).to_parquet(tmp_path / "p.parquet")
    script = [sys.executable, str(shared / "protocol" / "score.py"), str(folder), str(tmp_path / "p.parquet")]
    result = json.loads(subprocess.run(script, check=True, capture_output=True, text=True).stdout)
    assert (result["recall@10"], result["ndcg@10"]) == (1.0, 1.0)
    assert result["events"] == json.loads((folder / "dataset.json").read_text())["evaluated"]["test"] > 0
