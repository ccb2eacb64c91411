"""A conversation goes on over either session store, and from another process where they share one."""

from pathlib import Path

import pytest

from serving.questions import Discover
from serving.sessions.opening import open_sessions
from tests.serving.shop import make_service


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_follow_up_in_another_process_refines_what_was_asked(kind: str, tmp_path: Path, redis_url: str) -> None:
    place = str(tmp_path / "shared.db") if kind == "sqlite" else redis_url
    one, other = make_service(tmp_path / "one"), make_service(tmp_path / "other")
    for service in (one, other):
        service.shoppers.sessions.close()
        service.shoppers.sessions = open_sessions(place, prefix=tmp_path.name)
    first = one.discover(Discover(user_id="u", text="red shoes"))
    assert [found.item_id for found in first.items] == ["i01", "i21"]
    second = other.discover(Discover(user_id="u", text="more expensive than the first, no wool"))
    # Above 20, so from 30 on: 1 costs too little and 21 is of wool, which is never given up. The price is.
    assert second.is_follow_up and second.wish.low == 30
    assert [one.column for one in second.relaxed] == ["price"]
    assert [found.item_id for found in second.items] == ["i01"]
    assert not other.discover(Discover(user_id="v", text="cheaper")).is_follow_up
