"""Products embedded after the training: the tables of the bundle give what TensorFlow's tower gives."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.demand import Demand
from models.item_embedding import Embedded, ItemEmbedding, ItemFeatures, read_lengths
from models.members import Members
from models.token_bags import TokenBags
from pipelines.errors import CorruptArtifact
from pipelines.snapshot import SnapshotData
from serving.item_tower_files import LENGTHS, TOKEN_TABLE
from tests.models.test_towers import batch_of, new_model, shaken

NEWCOMER = -1.25
SOME = np.array([3, 11, 20])


def features_of(data: SnapshotData) -> ItemFeatures:
    return ItemFeatures(TokenBags(data.item_tokens_indptr, data.item_tokens, data.item_token_weights), data.item_dense)


def members_of(data: SnapshotData, like: Members | None = None) -> Members:
    """Two members, with the weights of others where some are given."""
    models = []
    for number in range(2):
        model = new_model(data)
        model.compute_loss(batch_of(data))
        if like is not None:
            model.set_weights(like.models[number].get_weights())
        models.append(model if like is not None else shaken(model, number))
    return Members.of(models, data, np.zeros(data.num_items, np.float32))


def embedded(members: Members) -> Embedded:
    return Embedded(*members.item_matrices(), members.lengths())


@pytest.fixture(scope="module")
def members(world: SnapshotData) -> Members:
    return members_of(world)


def exchanged(data: SnapshotData) -> SnapshotData:
    """The world with the features of each item given to the one before it."""
    features = features_of(data).take(np.roll(np.arange(data.num_items), -1))
    return replace(data, item_tokens_indptr=features.bags.indptr, item_tokens=features.bags.tokens,
                   item_token_weights=features.bags.weights, item_dense=features.dense)


def test_a_product_with_other_features_moves_as_the_tower_says(world: SnapshotData, members: Members) -> None:
    other = exchanged(world)
    expected = embedded(members_of(other, members))
    found = members.embedding(NEWCOMER).changed(embedded(members), features_of(world), features_of(other))
    assert np.abs(expected.inputs - embedded(members).inputs).max() > 0.01
    np.testing.assert_allclose(found.inputs, expected.inputs, atol=1e-5)
    np.testing.assert_allclose(found.vectors, expected.vectors, atol=1e-5)
    np.testing.assert_allclose(found.lengths, expected.lengths, atol=1e-5)


def test_a_product_without_events_lives_on_its_features(world: SnapshotData, members: Members) -> None:
    counts = np.array(world.item_counts)
    counts[SOME] = 0
    unknown = replace(world, item_counts=counts)
    expected = embedded(members_of(unknown, members))
    found = members.embedding(NEWCOMER).new(features_of(world).take(SOME))
    np.testing.assert_allclose(found.inputs, expected.inputs[SOME], atol=1e-5)
    np.testing.assert_allclose(found.vectors[:, :-1], expected.vectors[SOME, :-1], atol=1e-5)
    # The members' prior is of the features alone; what demand says of a newcomer is added to it.
    np.testing.assert_allclose(found.vectors[:, -1], expected.vectors[SOME, -1] + NEWCOMER, atol=1e-5)


def test_what_did_not_change_stays(world: SnapshotData, members: Members) -> None:
    before, features = embedded(members), features_of(world)
    assert not features.differ(features).any()
    found = members.embedding(NEWCOMER).changed(before, features, features)
    np.testing.assert_allclose(found.vectors, before.vectors, atol=1e-6)


def test_each_kind_of_difference_is_seen(world: SnapshotData) -> None:
    features = features_of(world)
    tokens, weights, dense = features.bags.tokens.copy(), features.bags.weights.copy(), features.dense.copy()
    first = features.bags.indptr
    tokens[first[4]] += 1
    weights[first[9] + 1] *= 2
    dense[15, 0] += 1
    other = ItemFeatures(TokenBags(first, tokens, weights), dense)
    assert np.flatnonzero(features.differ(other)).tolist() == [4, 9, 15]
    # One token less moves all entries behind it, and is one difference.
    shorter = first.copy()
    shorter[7:] -= 1
    less = TokenBags(shorter, np.delete(features.bags.tokens, first[7] - 1),
                     np.delete(features.bags.weights, first[7] - 1))
    assert np.flatnonzero(features.differ(ItemFeatures(less, features.dense))).tolist() == [6]


def test_files_give_what_was_saved_and_damage_is_named(world: SnapshotData, members: Members, tmp_path: Path) -> None:
    embedding, features = members.embedding(NEWCOMER), features_of(world)
    embedding.save(tmp_path)
    features.save(tmp_path)
    np.save(tmp_path / LENGTHS, members.lengths())
    again = ItemEmbedding.load(tmp_path)
    np.testing.assert_array_equal(again.new(ItemFeatures.load(tmp_path, world.num_items)).vectors,
                                  embedding.new(features).vectors)
    assert read_lengths(tmp_path, world.num_items, 2).shape == (world.num_items, 2)
    with pytest.raises(CorruptArtifact, match="no lengths of 5 items"):
        read_lengths(tmp_path, 5, 2)
    np.save(tmp_path / TOKEN_TABLE, embedding.tokens[:, :-1])
    with pytest.raises(CorruptArtifact, match="no item tower"):
        ItemEmbedding.load(tmp_path)


def test_demand_says_what_an_item_without_events_has(world: SnapshotData) -> None:
    # One event for free to each of n items: its share of the N + n is 1 / (N + n), relative to the even share 1 / n.
    events, items = int(np.sum(world.item_counts)), world.num_items
    assert np.isclose(Demand.at(world, np.inf, 1.0).unsold, np.log(items / (events + items)))
