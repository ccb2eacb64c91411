"""What counts as the person in a file: cells of tables, and ids that stand by themselves among other bytes."""

import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.erasure.files import Rows, files_below, mentions, rows_of
from pipelines.erasure.person import Person
from serving.erased import NOBODY

ME = Person(["42", "anna@example.com"], NOBODY)
TIMES = pd.to_datetime(["2026-01-01", "2026-01-03", "2026-01-02"], utc=True).astype("datetime64[us, UTC]")
THIRD_US = 1_767_398_400_000_000  # date -d 2026-01-03T00:00:00Z +%s


def test_rows_of_tables_are_counted_with_their_newest_time(tmp_path: Path) -> None:
    table = pd.DataFrame({"user_id": ["42", "42", "421"], "item_id": ["a", "b", "42"], "timestamp": TIMES})
    table.to_parquet(tmp_path / "events.parquet", row_group_size=1)
    first_us = THIRD_US - 2 * 86_400_000_000
    assert rows_of(tmp_path / "events.parquet", ME) == Rows(2, THIRD_US, frozenset({("a", first_us), ("b", THIRD_US)}))
    table.drop(columns="timestamp").to_csv(tmp_path / "feed.csv", index=False)
    assert rows_of(tmp_path / "feed.csv", ME) == Rows(2)  # though all of them look like numbers
    table[["item_id"]].to_parquet(tmp_path / "items.parquet")
    assert rows_of(tmp_path / "items.parquet", ME) == Rows()  # product 42 is nobody
    (tmp_path / "torn.parquet").write_bytes((tmp_path / "events.parquet").read_bytes()[:-20])
    assert rows_of(tmp_path / "torn.parquet", ME).is_torn
    assert rows_of(tmp_path / "gone.parquet", ME) == rows_of(tmp_path / "gone.csv", ME) == Rows()
    assert [path.name for path in files_below(tmp_path)] == [
        "events.parquet", "feed.csv", "items.parquet", "torn.parquet"]


@pytest.mark.parametrize(("text", "is_there"), [
    ("", False), ("42", True), ("user 42 bought", True), ('{"user_id":"42"}', True), ("421 142 4 2", False),
    ("order-42 and 42-b", False), ("mail anna@example.com!", True), ("hanna@example.com", False), ("421, 42", True),
])
def test_an_id_stands_by_itself(tmp_path: Path, text: str, is_there: bool) -> None:
    (tmp_path / "log").write_text(text)
    assert mentions(tmp_path / "log", ME) is is_there
    assert not mentions(tmp_path / "gone", ME)


PIECES = st.lists(st.sampled_from([b"42", b"4", b"2", b" ", b"a", b"\xff", b"-", b"\n"]), max_size=12)


@settings(max_examples=60, deadline=None)
@given(content=PIECES.map(b"".join))
def test_as_a_regular_expression_would_find_it(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    path.write_bytes(content)
    found = re.search(rb"(?<![A-Za-z0-9_-])42(?![A-Za-z0-9_-])", content) is not None
    assert mentions(path, ME) is found
