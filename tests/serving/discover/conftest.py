"""A catalogue of a few products in which every phrase has a known meaning."""

from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from serving.catalogue import _labels
from serving.discover.lexicon import Lexicon

COLUMNS: dict[str, list[Any]] = {
    "category": ["evening clutches", "scarves", "dresses", "boots", "ties"],
    "brand": ["Maison Aurelle", "Dolce & Gabbana", "The Row", "Rivage", "Max Mara"],
    "colour": ["black", "Crème Brûlée", "red", "white", "black"],
    "materials": [["calf leather", "silk satin"], ["silk twill"], ["fine wool"], ["grained leather", "suede"],
                  ["white gold"]],
    "size": ["one size", "M", "38", "38", "yes"],
}


def lexicon_of(columns: dict[str, list[Any]]) -> Lexicon:
    table = pa.table(columns)
    catalogue: Any = SimpleNamespace(
        label_columns=tuple(columns), labels=lambda name: _labels(table.column(name)),
        brand="brand" if "brand" in columns else None, category="category" if "category" in columns else None)
    return Lexicon(catalogue)


@pytest.fixture(scope="package")
def lexicon() -> Lexicon:
    return lexicon_of(COLUMNS)
