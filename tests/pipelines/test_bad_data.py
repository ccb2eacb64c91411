"""The corpus of bad data through the real `check` and `ingest`: each defect is named, or all its rows are kept."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.check import check
from pipelines.contracts import Window
from pipelines.errors import DataError
from pipelines.ingest import ingest
from pipelines.shop_spec import ShopSpec
from tests.bad_data import Case, corpus, shop, write

CASES = corpus()
WINDOW = Window(as_of=datetime(2026, 6, 1, tzinfo=UTC))


def test_the_corpus_is_large_and_every_case_has_a_name_of_its_own() -> None:
    print(f"{len(CASES)} cases of bad data")
    assert len(CASES) >= 150
    assert len({str(case) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_data_is_named_or_kept(case: Case, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    source, spec = write(folder, case), ShopSpec.model_validate(case.spec)
    if case.error is not None:
        for call in (lambda: check(source, spec), lambda: ingest(source, WINDOW, spec, tmp_path / "lake")):
            with pytest.raises(DataError, match=case.error):
                call()
        assert not [path for path in (tmp_path / "lake").rglob("*") if path.is_file()]
        return
    report = check(source, spec)
    faults = {(f.table, f.column, f.rule, f.count): f for f in report.faults}
    for fault in case.named:
        assert fault in faults, f"not among {sorted(map(str, report.faults))}"
        assert faults[fault].example and faults[fault].remedy
    if case.kept is None:
        assert case.named and report.errors
        with pytest.raises(DataError) as refused:
            ingest(source, WINDOW, spec, tmp_path / "lake")
        named = [faults[fault] for fault in case.named if faults[fault].severity == "error"]
        assert named and all(str(fault) in str(refused.value) for fault in named)
        assert not [path for path in (tmp_path / "lake").rglob("*") if path.is_file()]
        return
    # A shop that is fit is not told off for anything but what is wrong with it.
    assert report.errors == ()
    assert {f.rule for f in report.faults} <= {rule for _, _, rule, _ in case.named} | {"repeated"}
    done = ingest(source, WINDOW, spec, tmp_path / "lake")
    # Rows in are rows kept and rows counted, and every one is there.
    assert (done.events, done.events_before, done.events_after) == (case.kept, 0, case.after)
    assert done.events + done.events_after == report.tables["events"].rows
    parts = [pq.ParquetFile(path).read() for path in sorted(Path(done.path).glob("events/*/part.parquet"))]
    assert sum(len(part) for part in parts) == case.kept
    tables = shop()
    case.break_it(tables)
    expected = tables["events"]["item_id"].astype(str).str.strip()
    kept = [str(item).strip() for part in parts for item in part["item_id"].to_pylist()]
    if not case.after:
        assert sorted(kept) == sorted(expected)
    assert pq.read_table(Path(done.path) / "items.parquet").num_rows == len(
        tables.get("items", shop()["items"]))
