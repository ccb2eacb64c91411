from pathlib import Path

import numpy as np
import pytest

from models import two_tower
from models.batches import assemble, cut
from models.demand import Demand
from models.legacy_keras import tf
from models.member_training import build
from models.members import Members
from models.requests import request_inputs
from models.served_tower import ServedTower
from models.two_tower import TwoTower
from models.visits import Visits
from pipelines.snapshot import TRAIN, Queries, SnapshotData
from pipelines.train_settings import TrainSettings
from serving.calendar import first_token

SMALL = TrainSettings(dimension=8, dropout=0.0, id_dropout=0.0, calendar_dropout=0.0, negatives=16)


def batch_of(world: SnapshotData, sequences: int | None = None, with_later: bool = False) -> dict[str, np.ndarray]:
    """The first sequences of a snapshot as one batch, all of them without a number."""
    visits = Visits.of(world)
    chosen = cut(visits, world.spec["visits"])
    return assemble(visits, chosen.part(np.arange(len(chosen))[:sequences]), world.user_tokens,
                    len(world.spec["event_types"]), with_later=with_later, calendar=first_token(world.spec))


def new_model(world: SnapshotData, settings: TrainSettings = SMALL) -> TwoTower:
    return build(world, Demand.of(world), settings)


def shaken(model: TwoTower, seed: int = 3) -> TwoTower:
    """The model with every weight moved, so that no part of it is silent by its initial value."""
    rng = np.random.default_rng(seed)
    model.set_weights([w + rng.normal(0, 0.1, w.shape).astype(w.dtype) for w in model.get_weights()])
    return model


def train_queries(world: SnapshotData) -> Queries:
    """The questions that training asks, as evaluation would ask them: one for each user and visit, in order."""
    h = world.histories
    rows = []
    for user in range(world.num_users):
        low, high = int(h.indptr[user]), int(h.indptr[user + 1])
        kept = [e for e in range(low, high) if h.split[e] == TRAIN and h.weight[e] > 0]
        for event in kept:
            end = low + int(np.searchsorted(h.time[low:high], h.time[event]))
            if not rows or rows[-1][0] != user or rows[-1][3] != h.time[event]:
                rows.append((user, low, end, int(h.time[event])))
    user, start, end, time = (np.array(column) for column in zip(*rows, strict=True))
    none = np.zeros(0, np.int64)
    return Queries(user.astype(np.int32), start, end, time, none, none)


def test_what_is_trained_is_what_is_served(world: SnapshotData) -> None:
    model = new_model(world)
    batch = batch_of(world)
    model.compute_loss(batch)  # creates all weights
    shaken(model)
    vectors, _ = model.items(None)
    trained = model.question_vectors(batch, vectors, batch["event_item"], training=False).numpy()
    queries = train_queries(world)
    inputs = request_inputs(world, queries, vectors.numpy())
    tower = ServedTower([model.users], world.spec)
    served = tower.function(**{k: tf.constant(v) for k, v in inputs.items()})["vector"].numpy()
    # The batch orders its sequences by length; users and waits tell which is which.
    order = np.lexsort(trained.T[:2])
    assert len(trained) == len(queries)
    assert np.allclose(trained[order], served[np.lexsort(served.T[:2])][:, :-1], atol=1e-5)
    assert (served[:, -1] == 1).all()


def test_an_item_without_training_lives_on_its_features(world: SnapshotData) -> None:
    model = new_model(world)
    new = np.flatnonzero(world.item_counts == 0)
    tower = model.items
    tower.is_known = tf.constant(np.zeros((world.num_items, 1), np.float32))
    vectors, _ = tower(None)
    content = tower.content(None).numpy()
    expected = 1.5 * content / np.linalg.norm(content, axis=1, keepdims=True)
    assert np.allclose(vectors, expected, atol=1e-5)
    assert len(new) == int((np.asarray(world.item_counts) == 0).sum())


def test_some_items_and_all_items_agree(world: SnapshotData) -> None:
    tower = new_model(world).items
    rows = np.array([5, 0, 17], np.int32)
    vectors, prior = tower(None)
    some, some_prior = tower(tf.constant(rows))
    assert np.allclose(some, vectors.numpy()[rows], atol=1e-6)
    assert np.allclose(some_prior, prior.numpy()[rows])


def test_full_softmax_by_hand(world: SnapshotData) -> None:
    model = new_model(world)
    batch = batch_of(world)
    vectors, prior = (part.numpy() for part in model.items(None))
    questions = model.question_vectors(batch, tf.constant(vectors), batch["event_item"], training=False).numpy()
    demand = model.items.demand_table.numpy()[model.items.moment_of(batch["query_time"]).numpy()]
    assert len(np.unique(demand, axis=0)) > 3  # the questions lie in several seasons
    logits = questions @ vectors.T + prior + demand
    open_to = logits.copy()
    open_to[batch["met_query"], batch["met_item"]] = -np.inf
    assert len(batch["met_query"]) > 0
    normaliser = np.log(np.exp(open_to).sum(axis=1))[batch["target_query"]]
    expected = normaliser - logits[batch["target_query"], batch["target_item"]]
    assert np.isclose(model.compute_loss(batch), expected.mean(), atol=1e-4)


def test_sampled_softmax_by_hand(world: SnapshotData) -> None:
    model = new_model(world, SMALL.model_copy(update={"full_softmax_below": 0, "negatives": 3}))
    batch = batch_of(world, sequences=6, with_later=True)
    model.compute_loss(batch)  # creates what is created on first use
    shaken(model)
    tf.random.set_seed(5)
    drawn = tf.random.uniform((3,), 0, world.num_items, tf.int32).numpy()
    offered = np.unique([*batch["target_item"], *drawn])
    assert len(offered) < world.num_items  # or there is nothing to correct
    vectors, prior = (part.numpy() for part in model.items(None))
    questions = model.question_vectors(batch, tf.constant(vectors), batch["event_item"], training=False).numpy()
    demand = model.items.demand_table.numpy()[model.items.moment_of(batch["query_time"]).numpy()]
    # An item is offered unless none of 3 draws and none of the targets is of it.
    share = (world.item_counts + 1) / (world.item_counts.sum() + world.num_items)
    chance = 1 - (1 - 1 / world.num_items) ** 3 * (1 - share) ** len(batch["target_item"])
    logits = questions @ vectors.T + prior + demand - np.log(chance)
    open_to = np.full_like(logits, -np.inf)
    open_to[:, offered] = logits[:, offered]
    open_to[batch["met_query"], batch["met_item"]] = -np.inf
    normaliser = np.log(np.exp(open_to).sum(axis=1))[batch["target_query"]]
    expected = normaliser - logits[batch["target_query"], batch["target_item"]]
    tf.random.set_seed(5)
    assert np.isclose(model.compute_loss(batch), expected.mean(), atol=1e-4)


def test_sampled_loss_is_the_full_one_on_the_mean_of_its_normaliser(world: SnapshotData) -> None:
    """One over the chance of being offered makes the sampled sum of exponentials right on the mean."""
    model = new_model(world, SMALL.model_copy(update={"full_softmax_below": 0, "negatives": 30}))
    batch = batch_of(world, sequences=1, with_later=True)
    model.compute_loss(batch)
    shaken(model)
    chance = model._offered_chance(tf.range(world.num_items), 0).numpy()  # nobody else asks
    rng = np.random.default_rng(1)
    value = rng.uniform(0, 1, world.num_items)
    sums = [(value / chance)[np.unique(rng.integers(0, world.num_items, 30))].sum() for _ in range(4000)]
    assert np.mean(sums) == pytest.approx(value.sum(), rel=0.01)


def test_a_rare_item_of_a_large_catalogue_is_corrected_in_full(world: SnapshotData) -> None:
    model = new_model(world, SMALL.model_copy(update={"full_softmax_below": 0, "negatives": 1024}))
    model.num_items = 10_000_000
    model.items.share = tf.constant([1e-9], tf.float32)
    # 1,024 draws of ten million, 1.024e-4, and 4,096 targets of a share of 1e-9, 4.096e-6.
    assert float(model._offered_chance(tf.constant([0]), 4096)[0]) == pytest.approx(1.06491e-4, rel=1e-4)


def test_sampled_softmax_learns_too(world: SnapshotData) -> None:
    settings = SMALL.model_copy(update={"full_softmax_below": 0, "learning_rate": 0.01})
    tf.keras.utils.set_random_seed(1)
    model, batch = new_model(world, settings), batch_of(world, with_later=True)
    assert not model.sampling.is_full
    losses = [float(model.train_step(batch)["loss"]) for _ in range(40)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.3
    # The id table got sparse gradients, which went to its own optimiser.
    assert model.sparse_optimizer.iterations.numpy() == 40


def test_a_step_moves_no_row_of_a_large_table_that_it_does_not_touch(
    world: SnapshotData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(two_tower, "LARGE_TABLE", 3)
    model = new_model(world, SMALL.model_copy(update={"full_softmax_below": 0, "negatives": 1}))
    # Adam would have moments for all rows now, and go on moving them.
    model.train_step(batch_of(world, with_later=True))
    few = batch_of(world, sequences=1, with_later=True)
    tables = [model.items.tokens, model.items.ids, model.users.user]
    before = [table.numpy() for table in tables]
    tf.random.set_seed(5)  # the same negatives twice
    with tf.GradientTape() as tape:
        loss = model.compute_loss(few, training=True)
    touched = [set(gradient.indices.numpy().tolist()) for gradient in tape.gradient(loss, tables)]
    tf.random.set_seed(5)
    model.train_step(few)
    for table, old, rows in zip(tables, before, touched, strict=True):
        moved = set(np.flatnonzero((table.numpy() != old).any(axis=1)).tolist())
        assert 0 < len(moved) < len(old) and moved <= rows


def test_empty_slots_change_nothing(world: SnapshotData, tmp_path: Path) -> None:
    users = shaken(build_called(world)).users
    inputs = request_inputs(world, train_queries(world).part(5, 9), np.asarray(build_called(world).items(None)[0]))
    short = {k: tf.constant(v[:, -20:] if v.ndim > 1 and k != "user" else v) for k, v in inputs.items()}
    whole = {k: tf.constant(v) for k, v in inputs.items()}
    assert np.allclose(users(short), users(whole), atol=1e-5)


def build_called(world: SnapshotData) -> TwoTower:
    model = new_model(world)
    model.compute_loss(batch_of(world))
    return model


def test_members_side_by_side_score_as_their_mean(world: SnapshotData) -> None:
    models = [shaken(build_called(world), seed) for seed in (3, 4)]
    prior = np.arange(world.num_items, dtype=np.float32)
    queries = train_queries(world).part(0, 6)
    alone = [Members.of([model], world, prior).current().scores(world, queries) for model in models]
    together = Members.of(models, world, prior)
    vectors, inputs = together.item_matrices()
    assert (vectors.shape[1], inputs.shape[1]) == (17, 16)  # twice 8, and the prior
    assert not np.allclose(*alone, atol=0.1)
    assert np.allclose(together.current().scores(world, queries), np.mean(alone, axis=0), atol=1e-4)
