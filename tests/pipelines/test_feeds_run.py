"""Feeds from the shop's tables in one call: by default as of the live release, once for the same."""

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from pipelines.artifacts import load_contract
from pipelines.contracts import Feeds, Origin
from pipelines.errors import SettingsError
from pipelines.feeds_run import ExportParams, export
from pipelines.promote import promote
from pipelines.settings import Settings
from tests.pipelines.test_feeds import write_shop
from tests.pipelines.test_promote import judge
from tests.release_world import AS_OF, ITEMS

ORIGIN = Origin(actor="tester")


def test_the_customers_are_those_of_the_releases_window_or_of_a_later_one(places: Settings, tmp_path: Path) -> None:
    source = str(write_shop(tmp_path / "toy"))
    with pytest.raises(SettingsError, match="no release whose recommendations"):
        export(ExportParams(source=source), ORIGIN, places)
    own = places.of_shop("toy")
    promote(judge(own.artifacts, own), ORIGIN, False, own)
    usual = export(ExportParams(source=source, k=3, similar=2), ORIGIN, places)
    assert (usual.as_of, usual.release, usual.users, usual.listed) == (AS_OF, 1, 13, 0)
    assert export(ExportParams(source=source, k=3, similar=2), ORIGIN, places) == usual
    table = pd.read_parquet(Path(usual.path) / "user_items.parquet")
    # u00 bought i00, i04 and i08 of the first group.
    assert table[table["user_id"] == "u00"]["item_id"].tolist() == ["i12", "i16", "i20"]
    later = export(ExportParams(source=source, as_of=AS_OF + timedelta(days=1), similar=0, currency="EUR",
                                link="https://shop.example/p/{item_id}", brand="Maison",
                                image_link="https://shop.example/i/{item_id}"), ORIGIN, places)
    assert later.listed == ITEMS and load_contract(Feeds, later.path).ingested.window.as_of == AS_OF + timedelta(days=1)
