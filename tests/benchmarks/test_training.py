"""The comparisons of training speed: the two sides of each do the same work, and count it alike."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from benchmarks.side_by_side import Comparison, Side
from benchmarks.training import main
from benchmarks.training_padded import PaddedTwoTower, padded
from benchmarks.training_scale import generate
from benchmarks.training_tables import DenseAdam, large_catalogue, tables_alone, whole_training
from benchmarks.training_tutorial import TutorialModel, examples, tutorial, tutorial_by_rows
from models.batches import assemble, cut
from models.demand import Demand
from models.legacy_keras import tf
from models.member_training import build
from models.stream import Stream, VisitLog
from models.two_tower import TwoTower
from models.visits import Visits
from pipelines.protocol import encode_protocol
from pipelines.snapshot import SnapshotData
from pipelines.train_settings import TrainSettings
from serving.calendar import first_token
from tests.world import write_protocol_world

SMALL = TrainSettings(dimension=8, dropout=0.0, id_dropout=0.0, calendar_dropout=0.0, negatives=16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_protocol_world(tmp_path_factory.mktemp("shops") / "toy")


@pytest.fixture(scope="module")
def world(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SnapshotData:
    out = tmp_path_factory.mktemp("snapshot")
    encode_protocol(folder, out)
    return SnapshotData.load(out)


def shaken(model: TwoTower) -> TwoTower:
    rng = np.random.default_rng(3)
    model.set_weights([w + rng.normal(0, 0.1, w.shape).astype(w.dtype) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("protocol", ["temporal", "leave_one_out"])  # demand of many moments, and of one
def test_padded_to_the_window_the_loss_and_its_slopes_are_the_same(
    tmp_path: Path, protocol: Literal["temporal", "leave_one_out"]
) -> None:
    encode_protocol(write_protocol_world(tmp_path / "shop", users=20, protocol=protocol), tmp_path)
    data, slots = SnapshotData.load(tmp_path), 6
    visits = Visits.of(data)
    sequences = cut(visits, slots)
    assert (sequences.first > visits.user_ptr[sequences.user]).any()  # some have visits pooled in front
    types = len(data.spec["event_types"])
    batch = assemble(visits, sequences.part(np.arange(0, len(sequences), 2)), data.user_tokens, types,
                     calendar=first_token(data.spec))
    model = build(data, Demand.of(data), SMALL)
    model.compute_loss(batch)
    shaken(model)
    plain = PaddedTwoTower(model.items, model.users, model.sampling, model.num_items)
    wide = padded(batch, slots + 3)
    assert wide["counts"].shape == (len(batch["counts"]), slots + 3)
    assert len(wide["query_slot"]) == wide["counts"].size > len(batch["query_slot"])
    weights = [model.items.ids, model.items.tokens, *model.users.trainable_variables]
    losses, slopes = [], []
    for each, inputs in ((model, batch), (plain, wide)):
        with tf.GradientTape() as tape:
            losses.append(each.compute_loss(inputs, training=True))
        slopes.append([tf.convert_to_tensor(g).numpy() for g in tape.gradient(losses[-1], weights)])
    assert float(losses[0]) > 0.5
    assert np.isclose(*losses, rtol=1e-5)
    for ours, theirs in zip(*slopes, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_the_tutorial_has_the_pairs_that_are_targets_here(folder: Path, world: SnapshotData) -> None:
    events = pd.read_parquet(folder / "events.parquet")
    events = events[(events["split"] == "train") & (events["event_type"] != "return")]
    expected = set(zip(events["user_id"], events["item_id"], strict=True))
    pairs = examples(world)
    assert len(pairs["user"]) == len(expected)
    assert set(zip(pairs["user"], pairs["item"], strict=True)) == expected  # strings, leading zeros kept
    log = VisitLog.of(world, world.spec["visits"])
    batches = list(Stream(log, world.spec["visits"], 3, 64, 0).epoch(1))
    assert log.total("targets") == sum(len(batch["target_item"]) for batch in batches) == len(expected)


def test_the_tutorial_looks_strings_up_and_measures_in_fit(world: SnapshotData) -> None:
    users, items = np.array(["u1", "u2", "u3"], object), np.array(["007", "008"], object)
    model = TutorialModel(users, items)
    model.user_model(tf.constant(["u1"]))  # makes the table
    model.item_model.layers[1].set_weights([np.eye(3, 32)])
    model.user_model.layers[1].set_weights([np.eye(3, 32)[[0, 1, 2, 1]]])  # 0 unknown, then u1, u2, u3
    loss = model.compute_loss({"user": tf.constant(["u1", "u2"]), "item": tf.constant(["007", "008"])})
    # Each user's vector is their item's: scores 1 and 0, so -log(e / (e + 1)) twice, summed as TFRS does.
    assert float(loss) == pytest.approx(2 * np.log(1 + np.exp(-1)))
    assert {float(metric.result()) for metric in model.metrics if "top_1_" in metric.name} == {1.0}
    side = tutorial(world, steps=2, batch=64)
    assert side.positions == 64 and side.seconds > 0
    assert tutorial_by_rows(world, batch=64).positions == len(examples(world)["user"]) // 64 * 64
    with pytest.raises(ValueError, match=r"too few for 200 steps.*--steps"):
        tutorial(world, steps=200, batch=64)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> SnapshotData:
    place = tmp_path_factory.mktemp("log")
    generate(place, 4000)
    return large_catalogue(SnapshotData.load(place), 60_000)


def test_a_large_catalogue_has_two_tables_of_its_size(large: SnapshotData) -> None:
    assert large.num_items == 60_000 and large.item_counts.sum() == len(large.histories.item)
    assert large.histories.item.max() < 60_000
    model = build(large, Demand.of(large), SMALL.model_copy(update={"full_softmax_below": 0}))
    assert [table.shape[0] for table in model.tables] == [60_000, 60_000, 60_000]  # ids, their priors, tokens


def test_dense_adam_has_the_same_loss(large: SnapshotData) -> None:
    settings = SMALL.model_copy(update={"full_softmax_below": 0})
    batch = next(Stream(VisitLog.of(large, 50), 50, 1, 512, 1, with_later=True).epoch(1))
    model = build(large, Demand.of(large), settings)
    dense = DenseAdam(model.items, model.users, model.sampling, model.num_items)
    dense.compile(optimizer=tf.keras.optimizers.Adam(1e-3))
    losses = []
    for each in (dense, model):
        model.compute_loss(batch)
        weights = model.get_weights()
        tf.random.set_seed(4)  # the same negatives
        losses.append(float(each.train_step(batch)["loss"]))
        model.set_weights(weights)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_both_comparisons_of_tables_give_a_ratio(tmp_path: Path) -> None:
    alone = tables_alone(2, dimension=4, rows=1000, batch=32)
    assert (alone.ours.positions, alone.theirs.positions) == (32, 32)
    whole = whole_training(tmp_path, SMALL, 1, rows=51_000, events=30_000)
    assert whole.ours.positions == whole.theirs.positions > 100


def test_a_comparison_says_its_ratio_and_both_rates() -> None:
    found = Comparison("Claim", Side("ours", 1000, 0.5, "a"), Side("theirs", 100, 2.0, "b"), 30)
    assert found.ratio == 40  # 2,000 a second beside 50
    text = found.text()
    assert text.startswith("Claim: x40.0, aimed at 30\n") and "2,000 positions/s" in text and " 50 positions/s" in text
    assert (found.document()["ours"]["rate"], found.document()["ratio"]) == (2000, 40)


def called(*arguments: object) -> str:
    """What the command says, of a training that takes a second."""
    app = typer.Typer()
    app.command()(main)
    small = [word for pair in ("dimension=8", "blocks=1", "steps=4") for word in ("--set", f"train.{pair}")]
    answer = CliRunner().invoke(app, [*map(str, arguments), *small], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.output


def test_the_command_compares_on_a_toy_shop(folder: Path, tmp_path: Path) -> None:
    said = called("--data", folder, "--only", "tutorial", "--only", "padded", "--steps", 1, "--tutorial-batch", 64,
                  "--sequences", 16, "--out", tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [one["target"] for one in figures] == [70, 70, None, 5]
    assert figures[0]["ours"] == figures[3]["ours"] and figures[1]["ours"]["name"] == "Vitrine, sampled softmax"
    assert figures[3]["theirs"]["positions"] == figures[3]["ours"]["positions"]
    assert all(f"x{one['ratio']:.1f}" in said for one in figures)


def of_recall(folder: Path, out: Path, more: Sequence[object]) -> dict[str, float]:
    called("--data", folder, "--out", out, *more)
    found: dict[str, float] = json.loads(out.read_text())
    return found


def test_a_training_ends_at_its_bound_and_says_when(folder: Path, tmp_path: Path) -> None:
    found = of_recall(folder, tmp_path / "found.json", ["--to-recall", "0.01", "--minutes", "5"])
    (*before, last) = found["epochs"]
    assert last["valid_recall@10"] >= 0.01 and all(epoch["valid_recall@10"] < 0.01 for epoch in before)
    assert found["reached_s"] == last["seconds"] < found["trained_s"] and "test" not in found


def test_a_training_of_a_budget_is_measured_on_test(folder: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists.parquet"
    more = ["--minutes", "0.01", "--set", "train.members=2", "--test", lists]
    found = of_recall(folder, tmp_path / "found.json", more)
    assert len(found["epochs"]) == 1 and found["reached_s"] is None  # 0.6 s are over with the first epoch
    events = pd.read_parquet(folder / "events.parquet")
    asked = events[(events["split"] == "test") & events["eval"]].set_index("row_id")["item_id"]
    table = pd.read_parquet(lists).set_index("row_id")["item_ids"]
    assert set(table.index) == set(asked.index)
    hits = [asked[row] in items for row, items in table.items()]
    assert found["test"]["recall@10"] == pytest.approx(np.mean(hits))
