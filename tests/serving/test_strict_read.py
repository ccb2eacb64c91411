"""Files that somebody else may have written are read within bounds, or refused for a reason that is named."""

import io
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import CorruptArtifact
from serving.strict_read import array_blocks, read_array, read_document, read_table

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
                    | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(JSON)
def test_every_document_that_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("json") / "x.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    assert read_document(path) == value


@pytest.mark.parametrize(("text", "fault"), [
    ("[" * 33 + "]" * 33, "deeper than 32"), ("[" * 200_000, "too deep|Expecting"), ('{"a": ' * 100_000, "too deep"),
    ("[NaN]", "NaN is no JSON"), ("[-Infinity]", "Infinity is no JSON"), ('{"a": 1, "a": 2}', "a name twice"),
    ("9" * 5000, "4300"), ("", "Expecting value"), ("\ud800", "utf-8"), ("{} {}", "Extra data"),
])
def test_other_documents_are_refused(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(CorruptArtifact, match=fault):
        read_document(path)


def test_documents_are_read_up_to_their_bound(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[" + " " * 98 + "]")
    assert read_document(path, 100) == []
    with pytest.raises(CorruptArtifact, match="more than 99 bytes"):
        read_document(path, 99)
    with pytest.raises(CorruptArtifact, match="No such file"):
        read_document(tmp_path / "none.json")


def header_of(descr: object, shape: object) -> bytes:
    """The beginning of a .npy file that announces what it likes."""
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def test_an_array_comes_as_it_was_saved(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.save(tmp_path / "x.npy", array)
    assert read_array(tmp_path / "x.npy", np.float32, (3, None)).tolist() == array.tolist()
    np.save(tmp_path / "y.npy", np.asfortranarray(array))
    assert read_array(tmp_path / "y.npy", np.float32, (None, 4)).tolist() == array.tolist()


@pytest.mark.parametrize(("content", "fault"), [
    (header_of("<f4", (1 << 40, 4)), "its header announces 17,592,186,044"),  # nothing is allocated for it
    (header_of("<f4", (2, 4)) + b"\0" * 31, "its header announces"), (header_of("<f4", (2, 4)) + b"\0" * 33, "announc"),
    (header_of("<f4", (2, 5)) + b"\0" * 40, r"float32 \[2, 5\] where float32 \[any, 4\]"),
    (header_of("<f4", (-2, -4)) + b"\0" * 32, r"where float32 \[any, 4\]"),
    (header_of(">f4", (2, 4)) + b"\0" * 32, "is >f4"), (header_of("<f8", (1, 4)) + b"\0" * 32, "is float64"),
    (header_of([("a", "<f4")], (2, 4)) + b"\0" * 32, "where float32"),
    (header_of("|O", (1,)) + pickle.dumps([1]), "is object"), (pickle.dumps([1]), "magic"), (b"", "magic|EOF"),
    (b"\x93NUMPY\x03\x00" + b"\0" * 100, "version"), (b"\x93NUMPY\x01\x00\xff\xff{'descr'", "EOF|header"),
    (b"\x93NUMPY\x02\x00\xff\xff\xff\x0f" + b"(" * 300_000, "EOF|header"),
])
def test_other_arrays_are_refused_by_their_header(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(ValueError, match=fault):
        read_array(tmp_path / "x.npy", np.float32, (None, 4))


def test_an_array_in_blocks_is_the_array(tmp_path: Path) -> None:
    array = np.arange(21, dtype=np.float32).reshape(7, 3)
    np.save(tmp_path / "a.npy", array)
    blocks = list(array_blocks(tmp_path / "a.npy", np.float32, (7, 3), rows=3))
    assert [len(block) for block in blocks] == [3, 3, 1] and np.array_equal(np.concatenate(blocks), array)
    for shape, dtype in (((7, 4), np.float32), ((8, 3), np.float32), ((7, 3), np.float64)):
        with pytest.raises(ValueError, match=r"a\.npy is float32 \[7, 3\] where"):
            next(array_blocks(tmp_path / "a.npy", dtype, shape))
    np.save(tmp_path / "a.npy", np.asfortranarray(array))
    with pytest.raises(ValueError, match="column by column"):
        next(array_blocks(tmp_path / "a.npy", np.float32, (7, 3)))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes() + b"x")
    with pytest.raises(ValueError, match="header announces"):
        next(array_blocks(tmp_path / "a.npy", np.float32, (7, 3)))


def test_a_huge_header_is_not_parsed(tmp_path: Path) -> None:
    text = b"{" + b" " * 60_000 + b"}"
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    with pytest.raises(ValueError, match="may not be safe"):
        read_array(tmp_path / "x.npy", np.float32, (None,))


@given(st.binary(max_size=300))
def test_whatever_stands_in_a_file_ends_in_one_kind_of_error(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes
) -> None:
    path = tmp_path_factory.mktemp("noise") / "x"
    path.write_bytes(header_of("<f4", (2, 4))[: len(noise)] + noise)
    with pytest.raises(ValueError):
        read_array(path, np.float32, (None, 4))
    with pytest.raises(ValueError, match=r"x is no readable Parquet file"):
        read_table(path, 2)


def test_a_table_of_plain_columns_is_read(tmp_path: Path) -> None:
    table = pa.table({"item_id": ["a", "b"], "price": [1.5, None], "tags": [["x"], None], "image": [b"\x89PNG", None],
                      "since": pa.array([0, 1], pa.timestamp("us", "UTC")), "sold": [True, None]})
    pq.write_table(table, tmp_path / "x.parquet")
    assert read_table(tmp_path / "x.parquet", 2).to_pylist() == table.to_pylist()
    with pytest.raises(ValueError, match="has 2 rows where 3 are needed"):
        read_table(tmp_path / "x.parquet", 3)


@pytest.mark.parametrize("column", [
    pa.array([{"a": 1}]), pa.array([[{"a": 1}]]), pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16], pa.binary(16))),
])
def test_columns_of_other_kinds_are_refused(tmp_path: Path, column: pa.Array) -> None:
    pq.write_table(pa.table({"x": column}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="which no bundle holds"):
        read_table(tmp_path / "x.parquet", 1)


def test_a_table_that_unpacks_to_far_more_than_its_file_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A megabyte of text, repeated 4,096 times, is some kilobytes of file.
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": ["a" * 100_000] * 4096}), path, compression="zstd")
    assert path.stat().st_size < 200_000
    monkeypatch.setattr("serving.strict_read._TABLE_BYTES", 200_000_000)
    with pytest.raises(ValueError, match="more than 200,000,000 bytes when it is unpacked"):
        read_table(path, 4096)


def test_a_disk_that_cannot_be_read_is_not_blamed_on_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> io.BytesIO:
        raise OSError(5, os.strerror(5))

    np.save(tmp_path / "x.npy", np.zeros(3, np.float32))
    monkeypatch.setattr(Path, "open", broken)
    with pytest.raises(OSError, match="Input/output error"):
        read_array(tmp_path / "x.npy", np.float32, (3,))
    with pytest.raises(OSError, match="Input/output error"):
        read_document(tmp_path / "x.npy")
