"""`vitrine erase-user`: dry unless told otherwise, one shop, a receipt for people and for programs."""

import getpass
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.errors import SettingsError
from pipelines.settings import Settings
from tests.erasure_world import USER, Installation, make_installation

Call = Callable[..., Result]


@pytest.fixture
def installed(places: Settings, tmp_path: Path) -> Installation:
    return make_installation(places, tmp_path)


@pytest.fixture
def call(installed: Installation, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setenv("VITRINE_HOME", str(installed.places.home))
    monkeypatch.setenv("COLUMNS", "220")
    return lambda *arguments: CliRunner().invoke(app, ["erase-user", *arguments])


def test_it_only_searches_unless_it_is_told_to(call: Call, installed: Installation) -> None:
    shown = call(USER)
    assert shown.exit_code == 0, shown.output
    assert "dry run, nothing is erased; --yes does it" in shown.output and "would be removed" in shown.output
    assert installed.store.erasures.read().number == 0
    done = call(USER, "--yes", "--reason", "request 17", "--actor", "desk", "--json")
    receipt = json.loads(done.stdout)
    assert (receipt["shop"], receipt["erasure"], receipt["is_dry_run"], receipt["ids"]) == ("shop", 1, False, 2)
    assert f'"{USER}"' not in done.stdout
    record = installed.store.erasures.read().records[0]
    assert (record.actor, record.reason) == ("desk", "request 17")
    again = json.loads(call(USER, "--yes", "--json").stdout)
    assert (again["erasure"], again["actor"], again["reason"]) == (1, getpass.getuser(), "asked for")


def test_the_shop_is_named_where_there_are_several(call: Call, installed: Installation) -> None:
    assert call(USER, "--shop", "shop").exit_code == 0
    error = call(USER, "--shop", "boutique").exception
    assert isinstance(error, SettingsError) and "there is no shop 'boutique': give --shop shop" in str(error)
    (Path(installed.places.store) / "boutique/releases").mkdir(parents=True)
    error = call(USER).exception
    assert "whose customer is meant: give --shop boutique or --shop shop" in str(error)


def test_a_shop_without_a_release_has_customers_too(
    places: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.pipelines.test_feeds import write_shop

    installed = Installation(places, write_shop(tmp_path / "shop"))
    monkeypatch.setenv("VITRINE_HOME", str(places.home))
    empty = CliRunner().invoke(app, ["erase-user", USER]).exception
    assert isinstance(empty, SettingsError) and "there is no shop in" in str(empty)
    lake = installed.ingest()
    done = CliRunner().invoke(app, ["erase-user", USER, "--yes", "--json"])
    assert done.exit_code == 0, done.output
    assert not Path(lake.path).exists() and installed.ingest().events_erased == 3
    assert not Path(places.sessions_of("shop")).exists()  # looking makes nothing
