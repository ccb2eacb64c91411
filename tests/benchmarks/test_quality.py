"""The table of recall is made from cells; expected figures are worked out by hand."""

import json
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.quality import folders, identity, read, run, seeds_of, table, write_table
from pipelines.errors import SettingsError, VitrineError
from tests.world import write_protocol_world


def cell(model: str, recall: float, seed: int = 17, dataset: str = "shop", split: str = "test") -> dict[str, object]:
    return {"dataset": dataset, "split": split, "model": model, "seed": seed, "events": 1234, "recall@10": recall,
            "ndcg@10": recall / 2, "coverage@10": 0.5, "seconds": 90, "commit": "abc",
            "slices": {"new_item": {"events": 20, "recall@10": recall / 10, "ndcg@10": 0.01}}}


BASELINES = [cell("popularity", 0.1), cell("als", 0.2), cell("itemknn", 0.25), cell("ease", 0.16)]


def test_gains_are_over_the_mean_of_the_seeds() -> None:
    text = table([*BASELINES, cell("two_tower", 0.29), cell("two_tower", 0.31, seed=117)], "test")
    # Mean of .29 and .31 is .30, their deviation .02 / sqrt 2 = .0141; .30 / .2 = 1.5 and .30 / .25 = 1.2.
    row = ("| shop | .3000 / .1500 (± .0141 / .0071, 2 seeds) | .1000 / .0500 | .2000 / .1000 | .2500 / .1250 | "
           ".1600 / .0800 | +50% | +20% |")
    assert row in text.splitlines()
    assert "| shop, new item | 20 | .0300 | .0100 | .0200 | .0250 | .0160 |" in text


def test_mean_and_least_gain_are_over_the_data_sets() -> None:
    other = [cell(str(c["model"]), 0.1, dataset="other") for c in BASELINES]
    text = table([*BASELINES, *other, cell("two_tower", 0.3), cell("two_tower", 0.3, dataset="other")], "test")
    # Over ALS +50 % and +200 %, over the best +20 % and +200 %.
    assert "| mean |  |  |  |  |  | +125% | +110% |" in text
    assert "| least |  |  |  |  |  | +50% | +20% |" in text


def test_other_splits_stay_out() -> None:
    assert ".3000" not in table([*BASELINES, cell("two_tower", 0.3, split="valid")], "test")


def test_the_latest_of_equal_cells_counts(tmp_path: Path) -> None:
    file = tmp_path / "cells.jsonl"
    file.write_text("".join(json.dumps(cell("als", r)) + "\n" for r in (0.1, 0.2)), encoding="utf-8")
    assert [c["recall@10"] for c in read(file)] == [0.2]
    assert identity(read(file)[0]) == ("shop", "test", "als", 17)


def test_members_of_two_trainings_share_no_seed() -> None:
    # Up to 16 members take seeds one after the other.
    seeds = list(seeds_of("two_tower", 5))
    assert len(seeds) == 5
    assert min(b - a for a, b in pairwise(seeds)) >= 16
    assert len(seeds_of("als", 5)) == 1


def test_only_what_stands_between_the_markers_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- quality: begin -->\nold\n<!-- quality: end -->\nafter\n", encoding="utf-8")
    write_table(page, "new")
    assert page.read_text(encoding="utf-8") == (
        "before\n<!-- quality: begin -->\nnew\n<!-- quality: end -->\nafter\n")
    page.write_text("no markers", encoding="utf-8")
    with pytest.raises(SettingsError, match="has no lines"):
        write_table(page, "new")


def test_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no events\.parquet"):
        folders(tmp_path)
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "events.parquet").touch()
    assert folders(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert folders(tmp_path / "a") == [tmp_path / "a"]


SCORER = """
import json, sys
import pandas as pd
dataset, lists, option, split = sys.argv[1:]
assert option == "--split"
rows = len(pd.read_parquet(lists))
figures = {"events": rows, "recall@10": 0.5, "ndcg@10": 0.25}
print(json.dumps({"split": split, "coverage@10": 0.75, **figures,
                  "slices": {"new_user": {"events": 0}, "new_item": figures, "long_history_20_up": figures}}))
"""


def test_a_cell_holds_what_the_scorer_says_of_the_predictions(tmp_path: Path) -> None:
    scorer = tmp_path / "score.py"
    scorer.write_text(SCORER, encoding="utf-8")
    world = write_protocol_world(tmp_path / "world", users=40, items=20)
    found = run(world, "valid", "popularity", 17, scorer)
    events = pd.read_parquet(world / "events.parquet")
    asked = int((events["eval"] & (events["split"] == "valid")).sum())
    assert (found["dataset"], found["split"], found["model"]) == ("world", "valid", "popularity")
    assert (found["events"], found["recall@10"], found["ndcg@10"], found["coverage@10"]) == (asked, 0.5, 0.25, 0.75)
    assert list(found["slices"]) == ["new_item"]  # one that nobody is in, and one that is not shown, stay out


def test_a_failed_training_is_an_error_and_no_cell(tmp_path: Path) -> None:
    with pytest.raises(VitrineError, match="ended with status"):
        run(tmp_path, "test", "popularity", 17, tmp_path / "score.py")
