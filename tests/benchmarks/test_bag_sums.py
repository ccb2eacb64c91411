"""The timing of bag sums: both sides compute the same, on the items of a toy shop."""

import re
from pathlib import Path

import typer
from typer.testing import CliRunner

from benchmarks.bag_sums import main
from pipelines.protocol import encode_protocol
from pipelines.snapshot import SnapshotData
from tests.world import write_protocol_world


def test_the_command_counts_what_it_times(tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    encode_protocol(write_protocol_world(tmp_path / "toy"), snapshot)
    app = typer.Typer()
    app.command()(main)
    said = CliRunner().invoke(app, ["--snapshot", str(snapshot), "--dimension", "4"], catch_exceptions=False)
    data = SnapshotData.load(snapshot)
    counted = (f"{data.num_items:,} items, {len(data.item_tokens):,} entries, "
               f"{data.spec['item_token_count']:,} tokens: ")
    assert re.fullmatch(re.escape(counted) + r"\d+\.\d ms, sparse_dense_matmul \d+\.\d ms, \d+\.\d times as long",
                        said.stdout.strip())
