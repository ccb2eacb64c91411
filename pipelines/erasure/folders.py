"""A person in the stages' sealed folders, in those of killed attempts, and in the panels of bundles.

A sealed folder is never rewritten: its digest is what later stages know it by. One that holds the person is removed
whole, and whatever needs it is made anew without the person.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from pipelines.artifacts import CONTRACT, read_json, take_away
from pipelines.erasure.files import TABLES, files_below, rows_of
from pipelines.erasure.person import Person
from pipelines.errors import CorruptArtifact
from pipelines.moments import microseconds
from pipelines.retrain import shop_of
from serving.bundle_files import PANEL
from serving.panel import Panel, Shopper

PROVENANCE = "provenance.json"


@dataclass
class Search:
    """What was found below an artefact root.

    Attributes:
        files, size: that were searched, and their bytes.
        held: folders that hold the person.
        rows: of the person, in all of them.
        newest_us: time of the newest event among these, microseconds.
        events: (item id, microseconds) of what the person did.
        histories: of the person, unnamed, in the panels of bundles.
        torn: files that cannot be read.
        sources: of the shop's tables, as ingested folders name them.
    """

    files: int = 0
    size: int = 0
    held: list[Path] = field(default_factory=list)
    rows: int = 0
    newest_us: int | None = None
    events: set[tuple[str, int]] = field(default_factory=set)
    histories: list[Shopper] = field(default_factory=list)
    torn: list[Path] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)


def search(root: Path, others: frozenset[str], person: Person, events: Iterable[tuple[str, int]] = ()) -> Search:
    """Look through every folder below `root`.

    Args:
        root: of the artefacts.
        others: other shops, whose customers of the same id are somebody else: their folders are passed over.
        person: who is looked for.
        events: (item id, microseconds) that are known of the person from elsewhere.
    """
    found, bundles = Search(events=set(events)), list[Path]()
    for folder in all_folders(root):
        source = source_of(folder)
        if source is not None and shop_of(source) in others:
            continue
        found.sources |= {source} if source is not None else set()
        rows = 0
        for path in files_below(folder):
            rows += _look(path, person, found)
        if rows:
            found.held.append(folder)
            found.rows += rows
        elif (folder / PANEL).is_file() and (folder / PROVENANCE).is_file():
            bundles.append(folder)
    # Panels name nobody: they are compared with what all the lakes together know of the person.
    for folder in bundles:
        try:
            panel, provenance = (folder / PANEL).read_bytes(), (folder / PROVENANCE).read_bytes()
        except FileNotFoundError:  # another erasure removes it just now
            continue
        if histories := histories_of(panel, provenance, found.events):
            found.held.append(folder)
            found.histories += histories
    return found


def remove(root: Path, others: frozenset[str], person: Person, first: Search) -> int:
    """Remove the folders that hold the person, until a search finds none; how many that were."""
    found, removed = first, 0
    while found.held:
        # A stage that publishes its folder just now changes its name: the next search finds it under the new one.
        removed += sum(take_away(folder) for folder in found.held)
        found = search(root, others, person, found.events)
    return removed


def histories_of(panel: bytes, provenance: bytes, events: set[tuple[str, int]]) -> list[Shopper]:
    """The histories of a bundle's panel that are the person's: all of their events are.

    Somebody else's of the very same items at the same seconds is taken for theirs, which costs one comparison of
    releases a history.
    """
    try:
        shoppers = Panel.model_validate_json(panel).shoppers
        as_of_us = microseconds(datetime.fromisoformat(json.loads(provenance)["as_of"]))
    except (ValidationError, ValueError, KeyError, TypeError):
        return []  # no bundle's, or made before there were panels
    own = {(item, (as_of_us - time_us) // 1_000_000) for item, time_us in events}
    return [one for one in shoppers if one.items and own.issuperset(zip(one.items, one.seconds_before, strict=True))]


def _look(path: Path, person: Person, found: Search) -> int:
    """Count one file in; the person's rows of it."""
    try:
        found.size += path.stat().st_size
    except FileNotFoundError:  # of an attempt that has just ended
        return 0
    found.files += 1
    if path.suffix not in TABLES:
        return 0
    rows = rows_of(path, person)
    if rows.is_torn:
        found.torn.append(path)
    found.events |= rows.events
    if rows.newest_us is not None:
        found.newest_us = max(rows.newest_us, found.newest_us or 0)
    return rows.number


def all_folders(root: Path) -> Iterator[Path]:
    """Folders of results and of attempts, those that were left half too."""
    for stage in sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else ():
        yield from sorted(path for path in stage.iterdir() if path.is_dir())  # all names at once, before any is removed


def source_of(folder: Path) -> str | None:
    """Name of the tables that a sealed folder goes back to; None where it does not say."""
    try:
        document = read_json(folder / CONTRACT)["contract"]
    except (CorruptArtifact, KeyError, TypeError):
        return None
    while isinstance(document, dict):
        if "source" in document:
            return str(document["source"])
        document = next((value for value in document.values() if isinstance(value, dict) and "key" in value), None)
    return None
