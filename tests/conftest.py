"""Fixtures that every test may ask for."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full-faults", action="store_true", help="run the sweeps of tests/faults to their end")


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
