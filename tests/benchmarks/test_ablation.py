"""The table of what each choice is worth; expected figures are worked out by hand."""

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.ablation import answer_ranks, compared, difference, table
from pipelines.ablate_variants import Variant
from pipelines.errors import VitrineError
from pipelines.train_settings import TrainSettings
from tests.benchmarks.test_quality import SCORER
from tests.world import write_protocol_world

USERS = ["ann", "ann", "bob"]


def test_answers_have_the_place_of_their_item(tmp_path: Path) -> None:
    pd.DataFrame({"row_id": [0, 1, 2, 3], "user_id": ["zoe", *USERS], "item_id": list("wxyz")}).to_parquet(
        tmp_path / "events.parquet")
    lists = tmp_path / "lists.parquet"
    pd.DataFrame({"row_id": [3, 1, 2], "item_ids": [list("abz"), list("xab"), list("abc")]}).to_parquet(lists)
    found = answer_ranks(tmp_path, lists)
    assert found.index.tolist() == [1, 2, 3]
    assert found["rank"].tolist() == [1, 0, 3]
    assert found["user_id"].tolist() == USERS


def test_difference_is_paired_by_question() -> None:
    frame = pd.DataFrame({"rank": [1, 2, 0], "user_id": USERS})
    other = pd.DataFrame({"rank": [0, 0, 10], "user_id": USERS})
    mean, low, high = difference(frame, other, seed=17)
    # Two hits of three instead of one. Of two users, one wins two answers and one loses one: a resampling has
    # the first alone (+1), both (+1/3) or the second alone (-1).
    assert mean == pytest.approx(1 / 3)
    assert (low, high) == (-1, 1)
    assert difference(frame, frame, seed=17) == (0, 0, 0)


def test_answers_to_other_questions_are_not_compared() -> None:
    frame = pd.DataFrame({"rank": [1, 2, 0], "user_id": USERS})
    with pytest.raises(VitrineError, match=r"3 answers cannot be paired with the default's 2"):
        difference(frame, frame.iloc[:2], seed=17)


def test_table_has_a_column_a_data_set() -> None:
    first = {"dataset": "shop", "variant": "default", "about": "all choices as they are", "recall@10": 0.125,
             "ndcg@10": 0.0625, "commit": "abc", "seconds": 90}
    second = {**first, "variant": "blocks=0", "about": "no transformer", "difference": -0.01, "low": -0.0125,
              "high": 0.0005}
    assert table([first, second, {**first, "dataset": "other"}]).splitlines() == [
        "| variant | shop | other |",
        "|---|---|---|",
        "| all choices as they are (`default`) | .1250 / .0625 | .1250 / .0625 |",
        "| no transformer (`blocks=0`) | -.0100 (-.0125 to +.0005) | not measured |",
        "",
        "Commit abc, 4 minutes in all.",
    ]


def test_variants_are_trained_once_and_stand_beside_the_default(tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text(SCORER, encoding="utf-8")
    world = write_protocol_world(tmp_path / "world", users=40, items=20)
    base = TrainSettings(members=1, max_epochs=1, dimension=8, refit=False)
    variants = [Variant({}, "as it is", base),
                Variant({"blocks": 0}, "no transformer", base.model_copy(update={"blocks": 0}))]
    found = list(compared(world, variants, tmp_path / "work", tmp_path / "score.py"))
    asked = len(pd.read_parquet(found[0]["lists"]))
    assert [cell["variant"] for cell in found] == ["default", "blocks=0"]
    assert [cell["events"] for cell in found] == [asked, asked]
    own = [(answer_ranks(world, Path(cell["lists"]))["rank"] > 0).mean() for cell in found]
    assert found[1]["difference"] == pytest.approx(own[1] - own[0])

    (tmp_path / "score.py").write_text("raise SystemExit('asked again')", encoding="utf-8")
    again = list(compared(world, variants, tmp_path / "work", tmp_path / "score.py"))
    assert json.dumps(again) == json.dumps(found)
