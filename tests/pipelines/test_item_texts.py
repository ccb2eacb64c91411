from pathlib import Path

import pandas as pd
import pytest

from pipelines import item_texts as module
from pipelines.item_texts import item_texts, read_texts, write_texts


def test_words_of_texts_categories_and_lists_but_not_of_numbers() -> None:
    items = pd.DataFrame({
        "title": ["Côte Rouge 2019", None], "category": ["Still wine", float("nan")],
        "grapes": [["Muscat/Moscato", "Merlot", None], None], "price": [10.0, 12.5],
    })
    kinds = (("title", "text"), ("category", "categorical"), ("grapes", "multi"), ("price", "numeric"))
    first, second = item_texts(items, kinds, "title")
    assert first.title == ["cote", "rouge", "2019"]
    assert first.others == ["still", "wine", "merlot", "muscat", "moscato"]
    assert first.words == [*first.title, *first.others]
    assert second == ([], [])


def test_a_shop_without_titles_has_its_other_words() -> None:
    items = pd.DataFrame({"colour": ["deep red", "blue"]})
    assert item_texts(items, (("colour", "categorical"),), None) == [([], ["deep", "red"]), ([], ["blue"])]


KINDS = (("title", "text"), ("colour", "categorical"))


def test_a_snapshot_holds_the_same_words_however_many_are_cut_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = pd.DataFrame({"title": ["Red bag", None, "Bag No. 7"], "colour": ["red", "deep blue", None]})
    monkeypatch.setattr(module, "_BLOCK", 2)
    assert write_texts(items, KINDS, "title", tmp_path) == 3
    assert read_texts(tmp_path) == item_texts(items, KINDS, "title") == [
        (["red", "bag"], ["red"]), ([], ["deep", "blue"]), (["bag", "no", "7"], [])]


def test_a_shop_without_words_has_no_file(tmp_path: Path) -> None:
    assert write_texts(pd.DataFrame({"price": [1.0, 2.0]}), (("price", "numeric"),), None, tmp_path) == 0
    assert read_texts(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
