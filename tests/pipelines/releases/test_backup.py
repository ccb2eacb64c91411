"""A copy of a release store is a backup of it, and what a copy lacks is named."""

import json
import shutil
from pathlib import Path

import pytest

from pipelines.errors import CorruptArtifact
from pipelines.releases.opening import open_store
from pipelines.settings import Settings
from serving.store import ReleaseStore
from tests.pipelines.releases.conftest import Call


def test_a_copied_store_is_whole_and_one_that_lacks_a_record_says_which(
    call: Call, store: ReleaseStore, of_shop: Settings, tmp_path: Path
) -> None:
    folder, backup = Path(of_shop.store), tmp_path / "backup"
    live = store.live()
    for part in ("bundles", "releases"):  # records after bundles: no record of a copy names what is not in it
        shutil.copytree(folder / part, backup / part)

    shutil.rmtree(folder)
    call("verify", "--all", status=1)
    shutil.copytree(backup, folder)
    found = json.loads(call("verify", "--all", "--json").output)
    assert {finding["release"] for finding in found} == {1, 2, 3} and all(finding["passed"] for finding in found)
    assert open_store(of_shop).live() == live

    (folder / "releases" / "00000002.json").unlink()
    with pytest.raises(CorruptArtifact, match=r"00000002\.json is missing; restore it from a backup"):
        open_store(of_shop).history()
    assert open_store(of_shop).live() == live  # what serves goes on serving
    shutil.copy(backup / "releases" / "00000002.json", folder / "releases")
    assert [one.number for one in open_store(of_shop).history()] == [1, 2, 3]
