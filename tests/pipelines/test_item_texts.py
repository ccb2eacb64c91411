import pandas as pd

from pipelines.item_texts import item_texts


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
