"""A bundle folder is listed, measured and hashed before any of it is understood."""

import json
import os
import socket
from pathlib import Path

import pytest

from pipelines.artifacts import MANIFEST
from pipelines.errors import BundleRefused
from serving.bundle_files import KNOWN, Bounds, check_files, stamps
from tests.serving.conftest import seal_bundle

SIZES = {"spec.json": "document_bytes", "user_tower.tflite": "model_bytes", "items.parquet": "file_bytes"}


@pytest.mark.parametrize("name", SIZES)
def test_a_file_is_read_up_to_its_bound_and_not_a_byte_more(bundle_folder: Path, name: str) -> None:
    # Of its kind, it has to be the largest for the bound to be its own.
    inflated = bundle_folder / name
    inflated.write_bytes(inflated.read_bytes() + b" " * 20_000)
    seal_bundle(bundle_folder)
    size = inflated.stat().st_size
    check_files(bundle_folder, Bounds(**{SIZES[name]: size}))
    with pytest.raises(BundleRefused, match=rf"{name} has {size:,} bytes, at most {size - 1:,}"):
        check_files(bundle_folder, Bounds(**{SIZES[name]: size - 1}))


def test_a_bundle_is_read_up_to_its_bound(bundle_folder: Path) -> None:
    total = sum(entry["bytes"] for entry in check_files(bundle_folder).values())
    check_files(bundle_folder, Bounds(bundle_bytes=total))
    with pytest.raises(BundleRefused, match=rf"its files have {total:,} bytes, at most"):
        check_files(bundle_folder, Bounds(bundle_bytes=total - 1))


def test_settings_may_only_tighten_the_bounds() -> None:
    with pytest.raises(ValueError, match="bundle_bytes"):
        Bounds(bundle_bytes=Bounds().bundle_bytes + 1)


def test_no_name_that_a_bundle_may_hold_leads_anywhere_else() -> None:
    assert all(name == os.path.normpath(name) and not name.startswith(("/", ".")) for name in KNOWN)
    assert not [name for name in KNOWN if name.endswith(".pkl")]


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "link to a folder", "link to nothing"])
def test_only_plain_files_are_looked_at(bundle_folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    strange = bundle_folder / "strange"
    if kind == "pipe":
        os.mkfifo(strange)  # reading it would wait for ever
    elif kind == "socket":
        monkeypatch.chdir(bundle_folder)  # the address of a socket is short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("strange")
    elif kind == "folder":
        strange.mkdir()
    else:
        strange.symlink_to(bundle_folder.parent if kind == "link to a folder" else "/nowhere")
    with pytest.raises(BundleRefused, match="strange is a link, a device or a foreign folder"):
        check_files(bundle_folder)


def test_a_pipe_in_place_of_a_file_is_not_waited_for(bundle_folder: Path) -> None:
    (bundle_folder / "spec.json").unlink()
    os.mkfifo(bundle_folder / "spec.json")
    with pytest.raises(BundleRefused, match=r"spec\.json is a link"):
        check_files(bundle_folder)


def test_endless_folders_are_not_listed(bundle_folder: Path) -> None:
    for number in range(1001):
        (bundle_folder / "index" / f"{number}.npy").touch()
    with pytest.raises(BundleRefused, match="index holds more than 1000 names"):
        check_files(bundle_folder)


def test_a_name_that_could_forge_a_line_of_the_log_is_quoted(bundle_folder: Path) -> None:
    (bundle_folder / "a\nrelease 7 is live").touch()
    with pytest.raises(BundleRefused, match=r"'a\\nrelease 7 is live' is not in"):
        check_files(bundle_folder)


@pytest.mark.parametrize("entry", [
    {"sha256": "0" * 64}, {"sha256": "0" * 63, "bytes": 1}, {"sha256": "0" * 64, "bytes": -1},
    {"sha256": "0" * 64, "bytes": "1"}, {"sha256": "0" * 64, "bytes": 1, "url": "http://elsewhere"}, None,
])
def test_a_manifest_of_another_form_is_refused(bundle_folder: Path, entry: object) -> None:
    manifest = json.loads((bundle_folder / MANIFEST).read_text())
    manifest["files"]["spec.json"] = entry
    (bundle_folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleRefused, match=rf"{MANIFEST} cannot be read"):
        check_files(bundle_folder)


def test_a_manifest_without_end_is_not_read(bundle_folder: Path) -> None:
    with (bundle_folder / MANIFEST).open("ab") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(BundleRefused, match="it has more than 1,048,576 bytes"):
        check_files(bundle_folder)


def test_stamps_tell_a_file_that_was_written_or_replaced(bundle_folder: Path) -> None:
    before = stamps(bundle_folder)
    assert set(before) == set(check_files(bundle_folder))
    assert stamps(bundle_folder) == before
    other = bundle_folder.parent / "other"
    other.write_bytes((bundle_folder / "spec.json").read_bytes())
    os.utime(other, ns=(0, (bundle_folder / "spec.json").stat().st_mtime_ns))
    other.replace(bundle_folder / "spec.json")
    assert [name for name, stamp in stamps(bundle_folder).items() if stamp != before[name]] == ["spec.json"]
