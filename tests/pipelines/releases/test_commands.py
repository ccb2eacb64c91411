"""The commands on releases: what they print, their exit statuses, and that none changes anything unasked."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import SettingsError
from pipelines.promote import promote
from pipelines.releases.opening import of_one_shop, open_store, shops
from pipelines.settings import Settings
from serving.store import ReleaseStore
from tests.pipelines.releases.conftest import Call, judged


def test_the_table_has_every_release_newest_first_and_marks_the_live_one(call: Call, store: ReleaseStore) -> None:
    rows = [line for line in call("releases").output.splitlines() if "actor" in line]
    assert [row.split("│")[1].strip() for row in rows] == ["3", "2", "1"]
    assert ["live" in row for row in rows] == [True, False, False]
    assert all(word in rows[1] for word in ("actor 2", "week 2", "vitrine 1", "2026-11-08 00:00", "0.2000", "0.1000",
                                            store.get(2).bundle[:12], "MB"))
    assert len([line for line in call("releases", "--last", 1).output.splitlines() if "actor" in line]) == 1
    shown = json.loads(call("releases", "--json").output)
    assert [(one["number"], one["is_live"]) for one in shown] == [(1, False), (2, False), (3, True)]
    folder = store.bundle_path(store.get(1).bundle)
    assert shown[0]["bytes"] == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_refusals_are_listed(call: Call, store: ReleaseStore, tmp_path: Path, of_shop: Settings, told: list) -> None:
    from pipelines.contracts import Origin
    from pipelines.errors import ReleaseConflict

    verdict = judged(tmp_path / "artifacts", of_shop, parent=1, champion="c" * 64, epochs=9)
    with pytest.raises(ReleaseConflict) as error:
        promote(verdict, Origin(actor="overtaken", reason="weekly"), False, of_shop)
    assert "overtaken" in call("releases", "--refused").output
    [shown] = json.loads(call("releases", "--refused", "--json").output)
    assert (shown["error"], shown["message"]) == ("ReleaseConflict", str(error.value))
    name, (tagged, tags, _) = told[-1]
    assert (name, tagged.bundle) == ("tag", verdict.sealed.digest)
    assert tags == {"vitrine.promotion_refused": str(error.value)}


def test_diff_says_what_changed(call: Call) -> None:
    output = call("diff", 1, 2).output
    assert all(word in output for word in ("as_of", "recall@10", "replaced on average", "30.0%"))
    [found] = json.loads(call("diff", 1, 2, "--json").output)
    assert found["churn"]["mean"] == pytest.approx(0.3)


def test_a_rollback_is_dry_until_it_is_said(call: Call, store: ReleaseStore, told: list) -> None:
    before = len(told)
    assert "release 4 would be live (dry run" in call("rollback", "--reason", "empty slates").output
    assert (store.numbers(), len(told)) == ([1, 2, 3], before)
    call("rollback", status=2)  # without a reason
    assert "release 4 is live: bundle" in call("rollback", "--to", 1, "--reason", "empty slates", "--yes").output
    live = store.live()
    assert live is not None
    assert (live.restores, live.reason) == (1, "empty slates")
    assert told[-1] == ("promoted", (live, told[-1][1][1]))
    assert "rollback to 1: empty slates" in call("releases").output
    done = json.loads(call("rollback", "--to", 3, "--reason", "it was not that", "--yes", "--json").output)
    assert (done["number"], done["restores"], done["is_dry_run"]) == (5, 3, False)


def test_follow_moves_the_alias_or_says_that_it_could_not(
    call: Call, told: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines import tracking
    from pipelines.errors import TrackingError

    assert "champion is vitrine 1 of release 3" in call("follow").output
    assert (told[-1][0], told[-1][1][0].number) == ("promoted", 3)

    def away(*_: Any) -> None:
        raise TrackingError("MLflow failed")

    monkeypatch.setattr(tracking, "promoted", away)
    call("follow", status=1)


def test_verify_asks_three_things_and_fails_aloud(call: Call, store: ReleaseStore) -> None:
    found = json.loads(call("verify", "--json").output)
    assert [(one["release"], one["name"], one["passed"]) for one in found] == [
        (3, "record", True), (3, "digests", True), (3, "answers", True)]
    assert "13 lists of up to 10 items" in found[-1]["detail"]  # nobody's, and those of 12 shoppers
    (store.bundle_path(store.get(1).bundle) / "popularity.npy").write_bytes(b"")
    assert "popularity.npy" in call("verify", 1, status=1).output.replace("\n", "")
    every = json.loads(call("verify", "--all", "--json", status=1).output)
    assert {(one["release"], one["name"]): one["passed"] for one in every if one["name"] == "digests"} == {
        (1, "digests"): False, (2, "digests"): True, (3, "digests"): True}
    record = Path(store.root) / "releases/00000002.json"
    record.write_text(record.read_text().replace("actor 2", "actor 3"))
    assert "torn or was changed" in call("verify", 2, "--json", status=1).output


def test_gc_is_dry_until_it_is_said(call: Call, store: ReleaseStore, caplog: pytest.LogCaptureFixture) -> None:
    assert "0 of 3 bundles" in call("gc", "--keep", 0).output  # all are young
    assert "2 of 3 bundles" in call("gc", "--keep", 0, "--grace-minutes", 0).output
    assert len(store.shelf.stock()) == 3
    removed = json.loads(call("gc", "--keep", 1, "--grace-minutes", 0, "--yes", "--json").output)
    assert removed["removed"] == [store.get(1).bundle]
    assert set(store.shelf.stock()) == {store.get(2).bundle, store.get(3).bundle}
    [row] = [line for line in call("releases").output.splitlines() if "actor 1" in line]
    assert "removed" in row


def test_the_shop_is_found_or_asked_for(places: Settings, store: ReleaseStore) -> None:
    assert shops(places) == ["toy"]
    assert of_one_shop(places, None).store == f"{places.store}/toy"
    with pytest.raises(SettingsError, match=r"there is no shop 'other': give --shop toy"):
        of_one_shop(places, "other")
    assert open_store(places.of_shop("zebra")).live() is None  # looking makes nothing
    assert shops(places) == ["toy"]
    Path(places.store, "zebra/releases").mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"several shops have releases here: give --shop toy or --shop zebra"):
        of_one_shop(places, None)
    empty = places.model_copy(update={"store": places.store + "-none"})
    with pytest.raises(SettingsError, match=r"there is no release in .*-none: run `vitrine retrain`"):
        of_one_shop(empty, None)


def test_what_goes_wrong_is_one_message_and_a_status(
    call: Call, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipelines.cli import main

    monkeypatch.setattr("sys.argv", ["vitrine", "rollback", "--to", "9", "--reason", "why"])
    level = logging.getLogger("vitrine").level
    with pytest.raises(SystemExit) as end:
        main()
    logging.getLogger("vitrine").setLevel(level)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("vitrine: there is no release 9 before the live release 3")
