"""Fixtures that every test may ask for."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.s3_server import S3, running_s3

# Tables come out as wide as they need, whichever module makes its console first.
os.environ["COLUMNS"] = "220"
# How long an example takes tells how busy the machine is.
hypothesis.settings.register_profile("vitrine", deadline=None)
hypothesis.settings.load_profile("vitrine")
REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the whole suite."""
    parser.addoption("--full-faults", action="store_true", help="Inject faults by the thousand (make faults).")
    parser.addoption("--api-cases", type=int, default=400, help="Requests of the run against the API's schema.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files first: the workers, which take one file after another, end at about the same time."""
    if not config.getoption("--full-faults"):
        left = [item for item in items if item.get_closest_marker("full_faults")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of measuring data sets beside the checkout; tests that need it are skipped without it."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "datasets").is_dir():
        pytest.skip(f"the measuring data sets are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """An S3 on the loopback for the whole run."""
    with running_s3() as server:
        yield server
