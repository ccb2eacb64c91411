"""What has passed on this machine is opened straight away, and nothing else is."""

import json
import shutil
from pathlib import Path

import pytest

from pipelines.errors import BundleRefused
from serving.bundle_files import Bounds
from serving.rehearsal import Rehearsal
from serving.tried import Tried, libraries
from tests.live_world import digest_in
from tests.serving.conftest import make_bundle, seal_bundle

DIGEST = "a" * 64


def tried_in_a_process(folder: Path, tried: Path) -> bool:
    """Whether a bundle that passes needed a process of its own: one that may take no time fails where it is used."""
    rehearsal = Rehearsal(1e-9, tried)
    try:
        rehearsal.rehearse(folder, digest_in(folder), Bounds())
    except Exception as error:
        assert "did not open and answer within" in str(error)
        return True
    finally:
        rehearsal.close()
    return False


def test_a_bundle_is_tried_until_it_has_passed_once(bundle_folder: Path, tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    assert tried_in_a_process(bundle_folder, tried)
    assert tried_in_a_process(bundle_folder, tried)  # it has not passed
    rehearsal = Rehearsal(120, tried)
    rehearsal.rehearse(bundle_folder, digest_in(bundle_folder), Bounds())
    rehearsal.close()
    assert not tried_in_a_process(bundle_folder, tried)
    assert tried_in_a_process(make_bundle(tmp_path, "another", note="of other bytes"), tried)


def test_a_refusal_is_not_remembered(bundle_folder: Path, tmp_path: Path) -> None:
    (bundle_folder / "spec.json").write_text("{}")
    seal_bundle(bundle_folder)
    rehearsal = Rehearsal(120, tmp_path / "tried")
    for _ in range(2):
        with pytest.raises(BundleRefused, match="event_types"):
            rehearsal.rehearse(bundle_folder, digest_in(bundle_folder), Bounds())
    rehearsal.close()


def test_other_libraries_know_nothing_of_it(tmp_path: Path) -> None:
    tried = Tried(tmp_path)
    tried.add(DIGEST)
    assert tried.knows(DIGEST)
    (tmp_path / f"{DIGEST}.json").write_text(json.dumps(libraries() | {"scann": "0.0"}))
    assert not tried.knows(DIGEST)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"])
def test_a_torn_file_is_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"{DIGEST}.json").write_bytes(content)
    assert not Tried(tmp_path).knows(DIGEST)


def test_a_folder_that_cannot_be_written_costs_a_trial_and_no_release(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    tried = Tried(tmp_path / "file" / "tried")
    tried.add(DIGEST)
    assert "could not be written down" in caplog.text
    assert not tried.knows(DIGEST)


def test_the_folder_does_not_grow_without_end(tmp_path: Path) -> None:
    tried = Tried(tmp_path)
    for number in range(205):
        tried.add(f"{number:064d}")
    assert len(list(tmp_path.iterdir())) == 200
    assert tried.knows(f"{204:064d}")
    shutil.rmtree(tmp_path)
    assert not tried.knows(f"{204:064d}")
