"""A person who was erased is nobody to shop as, though the bundle's panel still has the history, without a name."""

from datetime import UTC, datetime
from pathlib import Path

from bs4 import BeautifulSoup
from fastapi.testclient import TestClient

from serving.api.app import create_app
from serving.api.settings import ApiSettings
from serving.erased import ErasureLog
from serving.erased_watch import ErasedWatch
from serving.recommender import Recommender
from serving.service import Service
from serving.sessions.sqlite import SqliteSessions
from serving.storage import open_storage
from serving.storefront.router import storefront_router
from tests.serving.shop import Holder, Record, Release
from tests.serving.storefront.conftest import SETTINGS, shopper


def test_who_was_erased_is_nobody_to_shop_as(recommender: Recommender, tmp_path: Path) -> None:
    log = ErasureLog(open_storage(tmp_path / "store"))
    watch = ErasedWatch(log)
    sessions = SqliteSessions(tmp_path / "sessions.db")
    service = Service(Holder(Release(Record(7), recommender)), sessions, erasures=watch)
    app = create_app(service, ApiSettings(timeout_s=60), pages=[storefront_router(service, SETTINGS)])
    with TestClient(app) as client:

        def shown() -> list[str]:
            page = BeautifulSoup(client.get("/").text, "html.parser")
            return [str(button.get("title")) for button in page.select(".personas button")][1:]

        assert shown() == []  # as long as nobody can say who was erased
        watch.look()
        assert shown() == ["bought 4 bags", "bought 3 hats, 2 shoes"]
        log.erase(["u"], at=datetime.now(UTC), histories=[shopper(0, 4, 8, 12)], actor="tester", reason="asked for")
        watch.look()
        assert shown() == ["bought 3 hats, 2 shoes"]
    sessions.close()
