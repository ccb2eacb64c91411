"""Costs of rules in the arithmetic shop of release_world, asked as in test_evaluate: every rank is known by hand.

User u < 8 of group g = u % 4 has met g, g + 4, g + 8 and g + 12; the answer is g + 16. User 12 is new, the answer is 5.
Without rules a slate has g + 16, ..., g + 36 and then the first items of other groups; that of user 12 is 0 to 9.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from pipelines.artifacts import read_json, seal, stage_key, write_json
from pipelines.cli import app
from pipelines.contracts import Evaluated, Registered, Sealed, Snapshot, Trained, Window
from pipelines.errors import CorruptArtifact, DataError
from pipelines.rule_costs import CHANGED, COVERAGE, MOVED, NDCG, NOVELTY, RECALL, Costs, CostSettings, rule_costs
from pipelines.snapshot import TEST, TRAIN, VALID, SnapshotData
from serving.bundle import Bundle, write_bundle
from serving.bundle_files import INDEX_CONFIG
from serving.rules import Boost, Cap, Pin, PriceBand, Rules
from tests.release_world import AS_OF, ITEMS, item_arrays, user_tower
from tests.small_snapshot import Event, small_snapshot

SETTINGS = CostSettings(samples=50)


def events() -> list[Event]:
    found: list[Event] = [(u, u % 4 + 4 * step, step, "buy", TRAIN, False) for step in range(3) for u in range(12)]
    found += [(u, u % 4 + 12, 3, "buy", VALID, True) for u in range(8)]
    found += [(u, u % 4 + 16, 4, "buy", TEST, True) for u in range(8)]
    return [*found, (12, 5, 4, "buy", TEST, True)]


def make_sealed(root: Path) -> Sealed:
    """The chain of contracts up to the bundle, whose items have a category and a price."""
    def snapshot_files(out: Path) -> dict[str, Any]:
        small_snapshot(out, events(), users=13, items=ITEMS)
        write_json(out / "spec.json", read_json(out / "spec.json") | {
            "event_types": ["buy"], "event_weights": {"buy": 1.0},
            "item_fields": [{"name": "category", "kind": "categorical"}, {"name": "price", "kind": "numeric"}],
            "display": {"title": None, "category": "category", "price": "price", "image": None}})
        pd.DataFrame({"item_id": [f"i{n}" for n in range(ITEMS)], "category": [f"g{n % 4}" for n in range(ITEMS)],
                      "price": [float(n + 1) for n in range(ITEMS)]}).to_parquet(out / "items.parquet")
        write_json(out / "vocabulary.json", {})
        return {"window": Window(as_of=AS_OF), "users": 13, "items": ITEMS, "events": 53, "train_events": 36,
                "valid_targets": 8, "test_targets": 9}

    key = stage_key("costs")
    snapshot = seal(Snapshot, root, "features", key, snapshot_files)

    def trained_files(out: Path) -> dict[str, Any]:
        for name, array in zip(("item_vectors", "item_inputs"), item_arrays(), strict=True):
            np.save(out / f"{name}.npy", array)
        (out / "user_tower.tflite").write_bytes(user_tower())
        return {"snapshot": snapshot, "dimension": 4, "epochs": 1, "best_epoch": 1, "valid_recall_at_10": 0.2}

    trained = seal(Trained, root, "train", key, trained_files)
    evaluated = seal(Evaluated, root, "evaluate", key, lambda out: {
        "trained": trained, "parent": None, "champion": None, "metrics": {}, "baselines": {}})
    registered = seal(Registered, root, "register", key, lambda out: {
        "evaluated": evaluated, "experiment_id": "1", "run_id": "r", "model_name": "m", "model_version": "1"})

    def bundle_files(out: Path) -> dict[str, Any]:
        write_bundle(out, Path(trained.path), Path(snapshot.path), {})
        write_json(out / INDEX_CONFIG, {"kind": "exact"})
        return {"registered": registered, "kind": "exact", "recall": 1.0, "recall_k": 10}

    return seal(Sealed, root, "index", key, bundle_files)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    return make_sealed(tmp_path_factory.mktemp("costs"))


def costs_of(sealed: Sealed, rules: Rules) -> Costs:
    data = SnapshotData.load(sealed.registered.evaluated.trained.snapshot.path)
    return rule_costs(Bundle.load(sealed.path), data, rules, SETTINGS)


def test_a_pin_pushes_every_answer_down_by_one(sealed: Sealed) -> None:
    costs = costs_of(sealed, Rules(pins=(Pin(item_id="i39", place=1),)))
    assert (costs.questions, costs.targets, costs.users) == (9, 9, 9)
    assert costs.without[RECALL] == 1
    assert costs.without[NDCG] == pytest.approx((8 + 1 / np.log2(7)) / 9)
    figures = costs.rules[0].figures
    assert (figures[RECALL].value, figures[RECALL].difference) == (1, 0)
    assert figures[NDCG].value == pytest.approx((8 / np.log2(3) + 1 / np.log2(8)) / 9)
    assert figures[NDCG].low <= figures[NDCG].difference <= figures[NDCG].high < 0
    assert figures[CHANGED].value == 1
    assert figures[MOVED].value == pytest.approx(7 / 9)  # group 3 had item 39 in its slate before
    assert costs.without[COVERAGE] == pytest.approx(len(shown()) / ITEMS)


def shown() -> set[int]:
    """Items of any slate without rules, by hand: of each group the last six, and what of the others sells best."""
    found = set(range(10))  # of the new user
    for group in range(4):
        found |= {group + step for step in range(16, 40, 4)}
        found |= set([row for row in range(ITEMS) if row % 4 != group][:4])
    return found


def test_a_cap_costs_recall_where_the_answer_is_the_second_of_its_label(sealed: Sealed) -> None:
    costs = costs_of(sealed, Rules(caps=(Cap(column="category", most=1),)))
    figures = costs.rules[0].figures
    # Slates are now of four: g + 16 and the best of each other group. The new user's are 0 to 3, without 5.
    assert figures[RECALL].value == pytest.approx(8 / 9)
    assert figures[RECALL].difference == pytest.approx(-1 / 9)
    assert figures[RECALL].low < 0 <= figures[RECALL].high  # one user of nine: it may be nothing
    assert figures[MOVED].value == 0 and figures[CHANGED].value == 1


def test_novelty_is_in_bits_of_what_is_shown(sealed: Sealed) -> None:
    rules = Rules(boosts=(Boost(column="category", labels=("g0",), worth=10),))
    costs = costs_of(sealed, rules)
    # Items 0 to 11 have 3 train events, the others none: 4 of 76 and 1 of 76 with one more each.
    bits = np.where(np.arange(ITEMS) < 12, -np.log2(4 / 76), -np.log2(1 / 76))
    slates = [[*range(g + 16, 40, 4), *[row for row in range(ITEMS) if row % 4 != g][:4]] for g in range(4)] * 2
    expected = np.mean([bits[slate].mean() for slate in [*slates, list(range(10))]])
    assert costs.without[NOVELTY] == pytest.approx(expected)
    novelty = costs.rules[0].figures[NOVELTY]
    assert novelty.value - costs.without[NOVELTY] == pytest.approx(novelty.difference)


def test_each_rule_alone_and_all_together(sealed: Sealed) -> None:
    rules = Rules(pins=(Pin(item_id="i39", place=1),), caps=(Cap(column="category", most=1),), diversity=0.2,
                  price_band=PriceBand(low=0, high=1000))
    costs = costs_of(sealed, rules)
    assert [cost.rule for cost in costs.rules] == ["pins (1)", "cap category 1", "prices x0 to x1000", "diversity 0.2",
                                                   "all rules"]
    idle = costs.rules[2].figures  # lets everything through
    assert all(figure.difference == figure.low == figure.high == 0 for figure in idle.values())


def test_what_cannot_be_measured_is_refused(sealed: Sealed) -> None:
    with pytest.raises(DataError, match="no rule to measure"):
        costs_of(sealed, Rules())
    with pytest.raises(DataError, match="'season' is no categorical column"):
        costs_of(sealed, Rules(caps=(Cap(column="season", most=1),)))


def test_the_snapshot_of_another_bundle_is_refused(sealed: Sealed, tmp_path: Path) -> None:
    other = small_snapshot(tmp_path / "other", events(), users=13, items=ITEMS + 1)
    with pytest.raises(CorruptArtifact, match="different items"):
        rule_costs(Bundle.load(sealed.path), other, Rules(diversity=0.1), SETTINGS)


def test_the_command_prints_a_table_or_json(sealed: Sealed, tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps({"caps": [{"column": "category", "most": 1}]}))
    command = ["rules", "evaluate", str(rules), "--bundle", sealed.path, "--samples", "20"]
    told = CliRunner().invoke(app, [*command, "--json"])
    assert told.exit_code == 0, told.output
    answer = Costs.model_validate(json.loads(told.stdout))
    assert answer.rules[0].figures[RECALL].value == pytest.approx(8 / 9)
    table = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert "cap category 1" in table.stdout and "-0.1111" in table.stdout
