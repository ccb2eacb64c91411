"""Tables of releases and refusals on a terminal: what people wrote stands there as they wrote it."""

from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table

from pipelines.releases.tables import refusals_table, releases_table
from serving.release import Refusal
from tests.faults.small_release import release_of


def shown(table: Table) -> str:
    told = StringIO()
    Console(file=told, width=300).print(table)
    return told.getvalue()


@pytest.mark.parametrize("reason", ["[SHOP-12] new season", "see [red] and [bold]", "broken [/checkout]", "a \\[b"])
def test_brackets_are_text(reason: str) -> None:
    release = release_of("b" * 64, "mark", None).model_copy(update={"reason": reason, "actor": "[ada]"})
    refusal = Refusal(release=release, error="ReleaseConflict", message=f"because {reason}",
                      refused_at=datetime(2026, 3, 1, tzinfo=UTC), process="host:1")
    assert f" {reason} " in shown(releases_table([release], 1, {}))
    refused = shown(refusals_table([refusal]))
    assert f" because {reason} " in refused and " [ada] " in refused
