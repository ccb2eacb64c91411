"""An installation that knows the customers of the arithmetic shop (tests/release_world.py) in every place there is.

The tables are those of tests/pipelines/test_feeds.py: u00 to u12, of whom user u bought items g, g + 4, g + 8 of group
g = u % 4, and u12 nothing. In the session store u05 is also session-5.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from pipelines.contracts import Feeds, Ingested, Origin, Snapshot, Window
from pipelines.erasure.erase import erase_user
from pipelines.erasure.receipt import Place, Receipt
from pipelines.features import FeatureSettings, features
from pipelines.feeds import FeedSettings, export_feeds
from pipelines.ingest import ingest
from pipelines.promote import promote
from pipelines.releases.opening import open_store
from pipelines.settings import Settings
from pipelines.shop_spec import ShopSpec
from serving.landing import LandingFolder
from serving.sessions.contract import Event, Merge
from serving.sessions.sqlite import SqliteSessions
from serving.store import ReleaseStore
from tests.pipelines.test_feeds import write_shop
from tests.pipelines.test_promote import judge
from tests.release_world import AS_OF

SHOP, USER, SESSION = "shop", "u05", "session-5"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BROUGHT_US = 1_795_000_000_000_000  # three days before NOW
# Train, valid and test are one day each.
THIRDS = FeatureSettings(valid_share=0.33, test_share=0.33)


class Installation:
    """Everything below one home."""

    def __init__(self, places: Settings, source: Path) -> None:
        self.places, self.own, self.source = places, places.of_shop(SHOP), source
        self.root = places.artifacts

    @property
    def store(self) -> ReleaseStore:
        return open_store(self.own)

    def ingest(self) -> Ingested:
        return ingest(str(self.source), Window(as_of=AS_OF), ShopSpec(), self.root, self.store.erasures)

    def features(self, lake: Ingested) -> Snapshot:
        return features(lake, THIRDS, self.root, self.store.erasures)

    def release(self, **world: Any) -> None:
        promote(judge(self.root, self.own, **world), Origin(actor="tester", reason="weekly"), False, self.own)

    def feeds(self, lake: Ingested) -> Feeds:
        return export_feeds(lake, FeedSettings(k=3, similar=0), self.store, self.root)

    def sessions(self) -> SqliteSessions:
        return SqliteSessions(Path(self.places.sessions_of(SHOP)))

    def fill(self) -> None:
        """Lake, snapshot, release and feeds; session store, landing folder, a killed attempt, MLflow's files, a log."""
        self.release()
        lake = self.ingest()
        self.features(lake)
        self.feeds(lake)
        killed = self.root / "ingest" / ".attempt-0123-dead"
        killed.mkdir()
        pd.DataFrame({"user_id": [USER], "item_id": ["i01"]}).to_parquet(killed / "part.parquet")
        events = [Event(f"e{n}", user, "i07", "view", BROUGHT_US + n) for n, user in enumerate((USER, SESSION, "u06"))]
        sessions = self.sessions()
        sessions.add(events, BROUGHT_US)
        sessions.identify(Merge("m", SESSION, USER, BROUGHT_US))
        sessions.close()
        landing = LandingFolder(self.places.landing_of(SHOP))
        landing.add_events(events)
        landing.add_merge(Merge("m", SESSION, USER, BROUGHT_US))
        landing.seal()
        table = self.places.home / "mlflow-artifacts/1/r1/artifacts/by_user.csv"
        table.parent.mkdir(parents=True)
        table.write_text(f"user_id,recall\n{USER},0.5\n")
        (self.places.home / "logs").mkdir()
        (self.places.home / "logs/task.log").write_text(f"row 7: '{USER}' bought too much\nu055 and xu05 did not\n")

    def erase(self, user: str = USER, *, yes: bool = True, at: datetime = NOW) -> Receipt:
        return erase_user(user, SHOP, self.places, actor="tester", reason="request 17", at=at, is_dry_run=not yes)

    def tree(self) -> dict[str, bytes]:
        """Every file below home, with its bytes."""
        return {path.relative_to(self.places.home).as_posix(): path.read_bytes()
                for path in sorted(self.places.home.rglob("*")) if path.is_file()}

    def holding(self, *ids: str) -> list[str]:
        """Files below home in which one of these ids stands: among the bytes, or in a table, whatever its column."""
        found = []
        for name, content in self.tree().items():
            if name.endswith(".parquet"):
                columns = pq.read_table(self.places.home / name, partitioning=None).to_pydict().values()
                is_held = any(one in column for column in columns for one in ids)
            else:
                is_held = any(f"{one}" in content.decode("latin-1") for one in ids)
            if is_held:
                found.append(name)
        return found


def place(receipt: Receipt, name: str) -> Place:
    """One place of a receipt."""
    return next(one for one in receipt.places if one.name == name)


def next_week() -> datetime:
    """A later window's end, for a second release."""
    return AS_OF + timedelta(days=7)


def make_installation(places: Settings, tmp_path: Path) -> Installation:
    """The installation, filled."""
    made = Installation(places, write_shop(tmp_path / SHOP))
    made.fill()
    return made
