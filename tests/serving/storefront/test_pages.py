"""The pages by HTTP, without a browser; which items stand where follows from the shop's one formula."""

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag
from fastapi.testclient import TestClient
from PIL import Image

from serving.api.app import create_app
from serving.recommender import Recommender
from serving.service import Service
from serving.sessions.contract import SessionsUnavailable
from serving.sessions.sqlite import SqliteSessions
from serving.storefront.router import storefront_router
from serving.storefront.settings import StorefrontSettings
from tests.serving.shop import Holder, item
from tests.serving.storefront.conftest import picture


def soup(client: TestClient, path: str, status: int = 200) -> BeautifulSoup:
    answer = client.get(path)
    assert answer.status_code == status, answer.text[:500]
    return BeautifulSoup(answer.text, "html.parser")


def found(page: BeautifulSoup, selector: str) -> Tag:
    tag = page.select_one(selector)
    assert tag is not None, selector
    return tag


def ids(page: BeautifulSoup, section: str) -> list[str]:
    return [str(piece["data-item"]) for piece in page.select(f"#{section} .piece")]


def test_a_newcomer_sees_what_sells_and_nothing_twice(client: TestClient) -> None:
    page = soup(client, "/")
    # The prior falls with the row.
    assert ids(page, "for-you") == [item(row) for row in range(8)]
    assert ids(page, "trending") == [item(row) for row in range(8, 16)]
    # All 40 are among the 60 newest, so that the visitor's own order decides.
    assert ids(page, "arrivals") == [item(row) for row in range(16, 24)]
    assert page.select(".why") == []
    first = found(page, "#for-you .piece")
    assert [first.select_one(name).text for name in (".brand", ".title", ".price")] == ["Aurel", "Item 0", "€10"]
    assert "0 events" in found(page, "#panel").text


def test_each_click_moves_the_row_and_is_told(client: TestClient) -> None:
    for row in (0, 4, 8):
        soup(client, f"/product/{item(row)}")
    page = soup(client, "/")
    # Bags are 0, 4, ..., 36: three were looked at, the last is sold out. Six are left, then what sells.
    assert ids(page, "for-you") == [item(row) for row in (12, 16, 20, 24, 28, 32, 1, 2)]
    steps = [re.sub(r"\s+", " ", step.text).strip() for step in page.select(".steps > li")]
    assert [step.split(" pieces")[0] for step in steps] == [
        "You looked at Item 8 1 of 8", "You looked at Item 4 1 of 8", "You looked at Item 0 7 of 8"]
    # Before the first click two of the eight were bags (0 and 4); after it all are, 4 alone was there before.
    assert "bags 2 → to 8" in steps[2]
    assert "3 events" in found(page, "#panel").text
    assert "close to Item" in found(page, "#for-you .why").text.lower()
    # What the last click brought in stands last: it took the place of the one that was clicked.
    moved = [tag.text.strip() if (tag := piece.select_one(".move")) else "" for piece in page.select("#for-you .piece")]
    assert moved == ["↑ up 1"] * 7 + ["new here"]


def test_the_same_page_again_at_once_is_one_look(client: TestClient) -> None:
    for _ in range(2):
        soup(client, f"/product/{item(0)}")
    assert len(soup(client, "/").select(".steps > li")) <= 2  # two at most, where the clock ticked between


def test_a_product_page_shows_all_there_is(client: TestClient) -> None:
    page = soup(client, "/product/i05")
    assert found(page, "h1").text == "Item 5"
    assert found(page, ".description").text == "Piece 5, made for day 5."
    rows = [(row.select("dt")[0].text, row.select("dd")[0].text) for row in page.select(".attributes div")]
    assert dict(rows) == {"Category": "shoes", "Colour": "black", "Materials": "silk", "Reference": "i05"}
    # Similar are the other shoes, and what goes with it is neither similar nor the item itself.
    assert ids(page, "similar") == [item(row) for row in (1, 9, 13, 17, 21, 25, 29, 33)]
    assert not {"i05", *ids(page, "similar")} & set(ids(page, "goes"))
    assert found(soup(client, "/product/i36"), ".notice").text.strip() == "This piece is sold out."


def test_a_category_stands_in_the_visitor_s_order(client: TestClient) -> None:
    client.post("/look", data={"item_id": "i20"})
    page = soup(client, "/category/bags")
    pieces = [str(piece["data-item"]) for piece in page.select(".piece")]
    assert pieces == [item(row) for row in (0, 4, 8, 12, 16, 20)]
    more = found(page, ".more a")["href"]
    assert [str(p["data-item"]) for p in soup(client, str(more)).select(".piece")] == [
        item(row) for row in (0, 4, 8, 12, 16, 20, 24, 28, 32)]  # 36 is sold out
    assert soup(client, str(more)).select(".more") == []


def test_shopping_as_a_customer_and_starting_over(client: TestClient) -> None:
    page = soup(client, "/")
    assert [b.text for b in page.select(".personas button")] == ["Newcomer", "Customer A", "Customer B"]
    # The clearest taste first; who has a single event is nobody to shop as.
    assert [b.get("title") for b in page.select(".personas button")][1:] == ["bought 4 bags", "bought 3 hats, 2 shoes"]
    client.post("/look", data={"item_id": "i01"})
    before = client.cookies["vitrine_session"]
    client.post("/persona", data={"key": "a"})
    page = soup(client, "/")
    # Five bags that can be bought and were not, then what sells.
    assert ids(page, "for-you") == [item(row) for row in (16, 20, 24, 28, 32, 1, 2, 3)]
    assert found(page, '.personas [aria-pressed="true"]').text == "Customer A"
    assert page.select(".steps > li") == []
    assert client.cookies["vitrine_session"] != before
    client.post("/persona", data={"key": ""})
    assert ids(soup(client, "/"), "for-you")[:2] == ["i00", "i01"]


def test_search_by_words(client: TestClient) -> None:
    page = soup(client, "/search?q=red+shoes")
    # 2 for a shoe, 1 for red: rows 1 and 21 are both.
    assert [str(piece["data-item"]) for piece in page.select(".piece")][:2] == ["i01", "i21"]
    assert found(page, "h1").text == "“red shoes”"
    assert found(soup(client, "/search?q=%3F%3F"), '[role="alert"]').text.strip().endswith("type a word or a number.")
    assert client.get("/search?q=", follow_redirects=False).headers["location"] == "/"


def test_a_search_by_picture_that_the_release_cannot_answer_says_why(client: TestClient) -> None:
    assert soup(client, "/").select(".by-picture") == []
    answer = client.post("/search/picture", files={"picture": ("bag.jpg", picture(1), "image/jpeg")})
    assert "This release cannot be searched by a picture: the shop has no pictures." in answer.text


def test_pictures_are_small_kept_and_of_their_bundle(client: TestClient) -> None:
    path = str(found(soup(client, "/product/i05"), ".product img")["src"])
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
    with Image.open(answer) as image:
        assert image.size == (80, 80)
        assert image.convert("RGB").getpixel((40, 40)) == pytest.approx((30, 120, 225), abs=12)
    assert "immutable" in answer.headers["cache-control"]
    again = client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/pictures/i02").status_code == 404
    assert found(soup(client, "/product/i02"), ".product .picture.none")["aria-label"] == "Item 2, coats"


@pytest.mark.parametrize(("path", "status"), [
    ("/product/nothing", 404), ("/category/nothing", 404), ("/product/%2e%2e%2fetc", 404), ("/storefront/x", 404),
    ("/category/bags?more=-1", 404), ("/category/bags?more=x", 404),
])
def test_what_is_not_there_is_a_page_too(client: TestClient, path: str, status: int) -> None:
    assert found(soup(client, path, status), "h1").text == "We do not have that here."


def test_choices_come_back_to_this_site_alone(client: TestClient) -> None:
    for back, leads in (("/product/i01?x=1#for-you", "/product/i01?x=1#for-you"), ("//evil.example", "/"),
                        ("https://evil.example", "/"), ("/\\evil.example", "/"), ("/a b", "/")):
        answer = client.post("/look", data={"item_id": "i01", "back": back}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, leads)
    assert client.post("/look", data={"item_id": "nothing"}).status_code == 404
    assert client.post("/look", data={}).status_code == 404
    assert client.post("/bag", data={"item_id": "i01"}).status_code == 404  # this log knows no bag


def test_no_page_runs_foreign_code_or_tells_a_script_who_it_is(client: TestClient) -> None:
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    page = BeautifulSoup(answer.text, "html.parser")
    assert [script.text for script in page.select("script")] == [""]
    assert page.select("[style], style, [onclick], [onload]") == []
    for tag in page.select("[src], link[href]"):
        assert str(tag.get("src") or tag.get("href")).startswith("/")
    cookies = answer.headers.get_list("set-cookie")
    assert len(cookies) == 2
    assert all("HttpOnly" in cookie and "SameSite=lax" in cookie for cookie in cookies)


def test_words_of_others_are_text_and_never_markup(client: TestClient) -> None:
    page = soup(client, "/search?q=%3Cscript%3Ealert(1)%3C%2Fscript%3Ebags")
    assert len(page.select("script")) == 1
    assert found(page, "h1").text == "“<script>alert(1)</script>bags”"
    client.cookies.set("vitrine_session", '"><b>')
    client.cookies.set("vitrine_persona", "'><b>")
    assert soup(client, "/").select("b") == []


def test_without_a_release_the_shop_says_that_it_opens_soon(tmp_path: Path) -> None:
    service = Service(Holder(None), SqliteSessions(tmp_path / "sessions.db"))
    with TestClient(create_app(service, pages=[storefront_router(service)])) as client:
        page = soup(client, "/", 503)
        assert "opens soon" in found(page, "h1").text
        assert client.get("/storefront/shop.css").status_code == 200


def test_a_session_store_that_is_down_closes_no_page_but_the_choice(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise SessionsUnavailable("redis://secret-host does not answer")

    monkeypatch.setattr(service.shoppers.sessions, "history", down)
    page = soup(client, "/")
    assert "made from the request's own events" in found(page, "#panel .notice").text
    monkeypatch.setattr(service.shoppers.sessions, "add", down)
    answer = client.post("/look", data={"item_id": "i01"})
    assert answer.status_code == 503
    assert "cannot keep your choice" in answer.text
    assert "secret-host" not in answer.text
    # The product can be looked at all the same.
    assert found(soup(client, "/product/i01"), "h1").text == "Item 1"


def test_a_shop_may_keep_its_panel_to_itself(recommender: Recommender, service: Service) -> None:
    router = storefront_router(service, StorefrontSettings(personas=0))
    with TestClient(create_app(service, pages=[router])) as client:
        assert soup(client, "/").select(".personas") == []
