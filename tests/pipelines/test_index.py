"""The sealed bundle: equal inputs give equal bytes, the index is measured, a dying build is named."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines import index as stage
from pipelines.errors import DataError, VitrineError
from pipelines.index import IndexSettings, index, provenance
from pipelines.requests import requests_at_end, user_vectors
from pipelines.search_spaces import Space, spaces
from pipelines.settings import Settings
from serving.bundle import Bundle
from serving.index_files import IndexConfig
from serving.recommender import Recommender
from serving.retriever import open_retriever
from tests.release_world import make_registered


def test_seals_a_bundle_that_opens_under_its_digest(tmp_path: Path, places: Settings, told: list) -> None:
    sealed = index(make_registered(tmp_path), IndexSettings(), places, tmp_path)
    bundle = Bundle.load(sealed.path, sealed.digest)
    assert (sealed.kind, sealed.recall, sealed.recall_k) == ("exact", 1.0, 10)
    assert json.loads((bundle.path / "index/index.json").read_text()) == {"kind": "exact"}
    assert bundle.provenance["as_of"] == "2026-11-01T00:00:00Z"
    assert bundle.provenance["registered"]["evaluated"]["trained"]["snapshot"]["items"] == 40
    assert [call[0] for call in told] == ["stage_run", "tag"]
    assert told[1][1][1] == {"vitrine.bundle_digest": sealed.digest}


def test_words_and_pictures_have_indexes_of_their_own(tmp_path: Path, places: Settings, told: list) -> None:
    sealed = index(make_registered(tmp_path, doors=True), IndexSettings(), places, tmp_path)
    assert sealed.search_recalls == {"words": 1.0, "pictures": 1.0}
    bundle = Bundle.load(sealed.path, sealed.digest)
    assert (bundle.text_index, bundle.picture_index) == (IndexConfig(kind="exact"), IndexConfig(kind="exact"))
    assert [answer.row for answer in Recommender(bundle).search("green n09", 2)] == [9, 1]
    assert told[0][1][3] == {"index_recall@10": 1.0, "words_index_recall@10": 1.0, "pictures_index_recall@10": 1.0}


def test_each_space_is_asked_by_those_who_will_ask_it(tmp_path: Path) -> None:
    trained = make_registered(tmp_path, doors=True).evaluated.trained
    shoppers, words, pictures = spaces(trained, Path(trained.path), 3)
    assert (shoppers.folder, shoppers.files, shoppers.queries.shape) == ("index", ("item_vectors.npy",), (3, 5))
    # Held out were items 0, 7, 14, 21, 28 and 35 by colour and number: every second, each in its own column of text.
    assert words.queries[:, 5:].argmax(axis=1).tolist() == [0, 14, 28]
    assert [block.shape for block in words.blocks(Path(trained.path))] == [(40, 5), (40, 40)]
    assert pictures.queries.shape == (3, 3)
    plain = make_registered(tmp_path).evaluated.trained
    assert [space.asked_by for space in spaces(plain, Path(plain.path), 3)] == ["shoppers"]


def test_the_digest_depends_on_neither_place_nor_clock(tmp_path: Path, places: Settings) -> None:
    sealed = []
    for name in ("here", "there"):
        root = tmp_path / name
        root.mkdir()
        sealed.append(index(make_registered(root), IndexSettings(), places, root))
    assert sealed[0].path != sealed[1].path
    assert sealed[0].digest == sealed[1].digest
    for path in Path(sealed[0].path).rglob("*.json"):
        if path.name != "contract.json":
            assert str(tmp_path) not in path.read_text()
    again = index(make_registered(tmp_path / "here"), IndexSettings(), places, tmp_path / "here")
    assert again == sealed[0]


def test_provenance_tells_two_trainings_apart(tmp_path: Path) -> None:
    first, second = make_registered(tmp_path, epochs=1), make_registered(tmp_path, epochs=2)
    assert provenance(first) != provenance(second)


def test_recall_is_asked_with_the_vectors_of_real_shoppers(tmp_path: Path) -> None:
    trained = make_registered(tmp_path).evaluated.trained
    # User u has three events in group u % 4; of 12 users, 3 evenly spaced are 0, 5 and 11.
    vectors = user_vectors(trained, requests_at_end(trained, 3))
    assert vectors.tolist() == [[3, 0, 0, 0, 1], [0, 3, 0, 0, 1], [0, 0, 0, 3, 1]]
    assert len(requests_at_end(trained, 500)) == 12


def test_vectors_that_are_not_finite_are_named_before_any_index(tmp_path: Path, places: Settings) -> None:
    vectors = np.ones((40, 5), np.float32)
    vectors[7, 2] = np.inf
    with pytest.raises(DataError, match=r"1 of 40 item vectors .* row 7"):
        index(make_registered(tmp_path, vectors=vectors), IndexSettings(), places, tmp_path)
    assert not list((tmp_path / "index").iterdir())


@pytest.fixture
def many_items(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A bundle folder in the making: 2,000 item vectors."""
    folder = tmp_path / "making"
    folder.mkdir()
    np.save(folder / "item_vectors.npy", np.random.default_rng(1).normal(size=(2000, 9)).astype(np.float32))
    return folder


def test_scann_is_built_in_a_child_alike_each_time(many_items: Path, tmp_path: Path) -> None:
    queries = np.random.default_rng(2).normal(size=(20, 9)).astype(np.float32)
    built = []
    for _ in range(2):
        space = Space("shoppers", "index", ("item_vectors.npy",), queries)
        recall = stage._build_apart(many_items, space, IndexSettings(recall_target=0.9))
        assert recall >= 0.9
        built.append({path.name: path.read_bytes() for path in (many_items / "index").iterdir()})
        (many_items / "index").rename(tmp_path / f"index{len(built)}")
    assert built[0] == built[1]
    assert {"index.json", "scann_assets.pbtxt", "dataset.npy"} <= built[0].keys()


def test_scann_over_words_searches_both_blocks(many_items: Path) -> None:
    rng = np.random.default_rng(3)
    np.save(many_items / "item_text.npy", rng.normal(size=(2000, 7)).astype(np.float32))
    space = Space("words", "text_index", ("item_vectors.npy", "item_text.npy"), rng.normal(size=(20, 16)).astype("f4"))
    assert stage._build_apart(many_items, space, IndexSettings(recall_target=0.9)) >= 0.9
    config = IndexConfig.model_validate_json((many_items / "text_index/index.json").read_text())
    blocks = space.blocks(many_items)
    rows, scores = open_retriever(many_items / "text_index", config, *blocks).search(space.queries, 5)
    whole = np.concatenate(blocks, axis=1)
    assert scores == pytest.approx(np.einsum("qkd,qd->qk", whole[rows], space.queries), abs=1e-4)
    assert (scores.min(axis=1) > np.median(space.queries @ whole.T, axis=1)).all()


@pytest.mark.parametrize(("code", "said"), [
    ("import os, signal; os.kill(os.getpid(), signal.SIGABRT)", "was ended by SIGABRT"),
    ("raise SystemExit('the disk is full')", "ended with status 1; its last lines: the disk is full"),
])
def test_a_dying_build_is_named_with_its_signal(many_items: Path, tmp_path: Path, monkeypatch, code, said) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text(f"#!/bin/sh\nexec {sys.executable} -c \"{code}\"\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr(stage.sys, "executable", str(interpreter))
    with pytest.raises(VitrineError, match=said):
        stage._build_apart(many_items, Space("shoppers", "index", ("item_vectors.npy",), np.ones((1, 9), np.float32)),
                           IndexSettings())
