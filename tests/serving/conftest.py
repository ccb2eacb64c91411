"""A sealed bundle folder of the arithmetic shop, with its exact index, outside any store."""

from pathlib import Path

import pytest

from pipelines.artifacts import FORMAT, MANIFEST, folder_files, write_json
from serving.bundle import write_bundle
from serving.bundle_files import INDEX_CONFIG
from tests.release_world import make_registered


def seal_bundle(folder: Path) -> Path:
    """Write the manifest of what the folder holds now, as the index stage does."""
    write_json(folder / MANIFEST, {"format": FORMAT, "stage": "index", "key": "0" * 64, "files": folder_files(folder)})
    return folder


def make_bundle(tmp_path: Path, name: str = "bundle", note: str = "") -> Path:
    """A new bundle; another `note` gives another digest."""
    trained = make_registered(tmp_path / "artifacts").evaluated.trained
    folder = tmp_path / name
    folder.mkdir()
    write_bundle(folder, Path(trained.path), Path(trained.snapshot.path), {"note": note})
    write_json(folder / INDEX_CONFIG, {"kind": "exact"})
    return seal_bundle(folder)


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path)
