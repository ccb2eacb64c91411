"""An erasure by a form: the receipt is the result, and says what Airflow itself keeps."""

from pathlib import Path

import pytest

from pipelines.contracts import Origin
from pipelines.erasure.operate import EraseParams, erase
from pipelines.settings import Settings
from tests.erasure_world import SESSION, SHOP, USER, make_installation

ORIGIN = Origin(actor="dana", cause="manual")


@pytest.mark.parametrize("is_dry_run", [True, False])
def test_the_receipt_names_nobody_and_what_remains(places: Settings, tmp_path: Path, is_dry_run: bool) -> None:
    installed = make_installation(places, tmp_path)
    before = installed.tree()
    form = {"user": USER, "reason": "request 17"} | ({} if is_dry_run else {"dry_run": False})
    receipt = erase(EraseParams.model_validate(form), ORIGIN, places)
    assert (receipt.shop, receipt.actor, receipt.is_dry_run) == (SHOP, "dana", is_dry_run)
    assert receipt.ids == 2 and any("Airflow keeps the form" in note for note in receipt.notes)
    written = receipt.model_dump_json()
    assert USER not in written and SESSION not in written
    if is_dry_run:  # looking into the session store touches its file, and nothing in it
        assert {name for name, content in installed.tree().items() if before.get(name) != content} <= {
            "sessions/shop.db"}
        assert installed.holding(USER, SESSION)
    assert bool(installed.store.erasures.read().number) is not is_dry_run
