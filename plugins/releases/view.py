"""What the page Releases shows of one shop's release log; it reads and changes nothing."""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from pipelines.errors import VitrineError
from pipelines.releases.opening import open_store, shops
from pipelines.releases.tables import SHOWN, megabytes, why
from pipelines.settings import load_settings
from plugins.mlflow_links import VerdictLink, run_address
from plugins.store_connection import with_connection
from serving.release import Refusal, Release
from serving.shelf import Stock
from serving.store import ReleaseStore

if TYPE_CHECKING:
    from rich.table import Table

PROVENANCE = "provenance.json"


class NoSuchRelease(VitrineError):
    """A shop or a release was asked for that is not there."""


class Row(NamedTuple):
    """A release as people see it."""

    release: Release
    held: Stock | None  # its bundle, where the store still has one
    is_live: bool
    can_return: bool  # its bundle is whole and another one is live

    @property
    def why(self) -> str:
        """Reason, with what it goes back to or refreshes."""
        return why(self.release)

    @property
    def size(self) -> str:
        """Of the bundle."""
        return megabytes(self.held.size) if self.held is not None and self.held.is_whole else "removed"

    @property
    def shown(self) -> list[str]:
        """The figures of SHOWN."""
        return [f"{value:.4f}" if (value := self.release.metrics.get(name)) is not None else "–" for name in SHOWN]


class Addresses(NamedTuple):
    """Where to read on about a release; empty where there is nothing to open."""

    run: str
    verdict: str


class Grid(NamedTuple):
    """A table of text."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


class ReleasesView:
    """The releases of a shop, or the shops to choose from.

    Attributes:
        shops: all that have releases.
        shop: the one that is meant; none where there are none, or several and none was named.
    """

    shown = SHOWN

    def __init__(self, shops: Sequence[str], shop: str | None, store: ReleaseStore | None) -> None:
        self.shops, self.shop, self._store = shops, shop, store

    @classmethod
    def of(cls, shop: str | None) -> "ReleasesView":
        """The view of a shop of this installation; of the only one where none is named.

        Raises:
            NoSuchRelease: there is no such shop.
            StoreUnreachable: the store does not answer.
        """
        places = with_connection(load_settings())
        known = shops(places)
        if shop is not None and shop not in known:
            raise NoSuchRelease(f"there is no shop {shop!r} with releases here; there are {', '.join(known) or 'none'}")
        chosen = shop if shop is not None else known[0] if len(known) == 1 else None
        return cls(known, chosen, open_store(places.of_shop(chosen)) if chosen is not None else None)

    @property
    def store(self) -> ReleaseStore:
        """Of the shop.

        Raises:
            NoSuchRelease: none was named, and there is not just one.
        """
        if self._store is None:
            raise NoSuchRelease(f"name a shop: {', '.join(self.shops) or 'none has releases yet'}")
        return self._store

    def link(self, path: str, **query: object) -> str:
        """An address of these pages that stays with the shop."""
        return f"{path}?{urlencode({'shop': self.shop, **query})}"

    def rows(self, last: int) -> list[Row]:
        """The last releases, newest first: one listing of the log and one of the bundles."""
        history, stock = self.store.history(last), self.store.shelf.stock()
        return [_row(one, history[-1], stock.get(one.bundle)) for one in reversed(history)]

    def row(self, number: int) -> Row:
        """One release.

        Raises:
            NoSuchRelease: the log is not that long.
        """
        live = self.store.live()
        if live is None or number > live.number:
            raise NoSuchRelease(f"there is no release {number} of {self.shop}; the newest is "
                                f"{live.number if live else 'none'}")
        release = self.store.get(number)
        return _row(release, live, self.store.shelf.stock().get(release.bundle))

    def refusals(self, last: int) -> list[Refusal]:
        """Promotions that were not taken, newest first."""
        return self.store.refusals()[:-last - 1:-1]

    def addresses(self, number: int) -> Addresses:
        """The MLflow run that a release was made in, and the gate's verdict in it, by the bundle's provenance."""
        try:
            run = run_address(json.loads(self.store.shelf.read(self.store.get(number).bundle, PROVENANCE)))
        except (FileNotFoundError, ValueError):  # the bundle was removed, or is damaged, which `vitrine verify` tells
            run = ""
        return Addresses(run, f"{run}{VerdictLink.part}" if run else "")

    def diff(self, before: int, after: int) -> list[Grid]:
        """What `vitrine diff` says.

        Raises:
            NoSuchRelease: the log is not that long.
            BundleRefused: a bundle is no longer there, is damaged, or does not answer.
        """
        from pipelines.releases.diff import diff
        from pipelines.releases.tables import diff_tables

        for number in (before, after):
            self.row(number)
        return list(_grids(diff_tables(diff(self.store, before, after))))


def _row(release: Release, live: Release, held: Stock | None) -> Row:
    can_return = held is not None and held.is_whole and release.bundle != live.bundle
    return Row(release, held, release.number == live.number, can_return)


def _grids(tables: "Iterable[Table]") -> Iterable[Grid]:
    """Tables of the command line as text."""
    for table in tables:
        columns = [[str(cell) for cell in column.cells] for column in table.columns]
        yield Grid(str(table.title or ""), [str(column.header) for column in table.columns],
                   list(zip(*columns, strict=True)))
