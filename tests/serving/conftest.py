"""A sealed bundle folder of the arithmetic shop, with its exact index, outside any store."""

from pathlib import Path

import pytest

from pipelines.artifacts import FORMAT, MANIFEST, folder_files, write_json
from serving.bundle import write_bundle
from serving.bundle_files import CONFIG, INDEX, PICTURE_INDEX, TEXT_INDEX
from tests.release_world import make_registered


def seal_bundle(folder: Path) -> Path:
    """Write the manifest of what the folder holds now, as the index stage does."""
    write_json(folder / MANIFEST, {"format": FORMAT, "stage": "index", "key": "0" * 64, "files": folder_files(folder)})
    return folder


def make_bundle(tmp_path: Path, name: str = "bundle", note: str = "", doors: bool = False) -> Path:
    """A new bundle; another `note` gives another digest, with `doors` it answers words and pictures too."""
    trained = make_registered(tmp_path / "artifacts", doors=doors).evaluated.trained
    folder = tmp_path / name
    folder.mkdir()
    write_bundle(folder, Path(trained.path), Path(trained.snapshot.path), {"note": note})
    for index in (INDEX, TEXT_INDEX, PICTURE_INDEX) if doors else (INDEX,):
        write_json(folder / index / CONFIG, {"kind": "exact"})
    return seal_bundle(folder)


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path)


@pytest.fixture
def searchable_folder(tmp_path: Path) -> Path:
    """A bundle that answers words and pictures too, see tests/door_world.py."""
    return make_bundle(tmp_path, "searchable", doors=True)
