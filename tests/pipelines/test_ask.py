"""`vitrine similar`, `search` and `basket` on the arithmetic shop, released (tests/release_world.py, door_world.py)."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines import cli
from pipelines.contracts import Origin
from pipelines.index import IndexSettings, index
from pipelines.settings import Settings
from serving.store import Release, ReleaseStore
from tests.door_world import photograph
from tests.release_world import AS_OF, make_registered

Ask = Callable[..., tuple[int, str, str]]


def release(store: Path, root: Path, places: Settings, *, doors: bool) -> None:
    """Make a bundle of the shop live in a store of its own."""
    registered = make_registered(root, doors=doors)
    sealed = index(registered, IndexSettings(), places, root)
    store.mkdir(parents=True)
    log = ReleaseStore(store)
    log.add_bundle(Path(sealed.path))
    log.commit(Release(number=1, parent=None, bundle=sealed.digest, training=registered.evaluated.trained.digest,
                       verdict="0" * 64, as_of=AS_OF, actor="ada", reason=Origin().reason, metrics={}, run_id="r",
                       created_at=datetime(2026, 11, 2, tzinfo=UTC), model_name="vitrine", model_version="1"))


@pytest.fixture
def ask(
    tmp_path: Path, places: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Ask:
    """The command with one shop released: its exit status, what it printed, and its error."""
    release(Path(places.store) / "boutique", tmp_path, places, doors=True)
    for name in ("ARTIFACTS", "STORE"):
        monkeypatch.delenv(f"VITRINE_{name}", raising=False)
    monkeypatch.setenv("VITRINE_HOME", str(places.home))
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vitrine", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return call


def cells(table: str) -> list[list[str]]:
    """Rows of a printed table."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines() if line.startswith("│")]


def test_each_question_gets_a_table_best_first(ask: Ask, tmp_path: Path) -> None:
    status, out, _ = ask("similar", "i03", "-n", 2)
    assert (status, out.splitlines()[0].strip()) == (0, "Similar to Item 3")
    assert cells(out) == [["1", "i07", "Item 7", "1.000"], ["2", "i11", "Item 11", "1.000"]]

    _, out, _ = ask("search", "red n08", "--number", 2)
    assert cells(out) == [["1", "i08", "Item 8", "2.707"], ["2", "i00", "Item 0", "2.000"]]

    (tmp_path / "photo.png").write_bytes(photograph("green"))
    _, out, _ = ask("search", "--image", tmp_path / "photo.png", "-n", 1)
    assert "Products that look like photo.png" in out
    assert cells(out) == [["1", "i01", "Item 1", "255.000"]]

    # Twice group 0, once group 1: 2 * 2 + (40 - 8) / 1000.
    _, out, _ = ask("basket", "i00", "i04", "i01", "-n", 1, "--shop", "boutique")
    assert "Goes with Item 0, Item 4, Item 1" in out
    assert cells(out) == [["1", "i08", "Item 8", "4.032"]]


@pytest.mark.parametrize(("arguments", "said"), [
    (("similar", "i99"), "the live release has no product 'i99'; its 40 ids are like 'i00'"),
    (("basket", "i00", "nope"), "the live release has no product 'nope'"),
    (("search",), "search takes words or --image, one of them"),
    (("search", "!?"), "'!?' asks for nothing"),
    (("similar", "i00", "--shop", "atelier"), "there is no shop 'atelier': give --shop boutique"),
])
def test_what_cannot_be_answered_is_said(ask: Ask, arguments: tuple[str, ...], said: str) -> None:
    status, out, error = ask(*arguments)
    assert (status, out) == (2, "")
    assert said in error


def test_with_two_shops_one_is_named(ask: Ask, tmp_path: Path, places: Settings) -> None:
    release(Path(places.store) / "atelier", tmp_path / "other", places, doors=False)
    status, _, error = ask("similar", "i00")
    assert status == 2
    assert "several shops have releases here: give --shop atelier or --shop boutique" in error
    status, _, error = ask("search", "red", "--shop", "atelier")
    assert status == 2
    assert "this release cannot be searched by words" in error
    assert ask("similar", "i00", "--shop", "atelier")[0] == 0


def test_without_any_release_it_says_how_to_make_one(ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VITRINE_STORE", str(tmp_path / "empty"))
    status, _, error = ask("similar", "i00")
    assert status == 2
    assert f"there is no release in {tmp_path / 'empty'}: run `vitrine retrain`" in error
