"""The toy shop, encoded."""

import pytest

from pipelines.protocol import encode_protocol
from pipelines.snapshot import SnapshotData
from tests.world import write_protocol_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> SnapshotData:
    """The toy shop under the measuring protocol, split in time."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "out").mkdir()
    encode_protocol(write_protocol_world(folder / "in"), folder / "out")
    return SnapshotData.load(folder / "out")
