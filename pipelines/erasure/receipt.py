"""What an erasure tells afterwards: where was searched, what was found and removed, what remains and why."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.contracts import Document, UtcTime


class Place(Document):
    """One place.

    Attributes:
        name: what it is.
        where: folder or address, without any password.
        files: that were searched; objects, where it has no files.
        size: their bytes; 0 where they cannot be told.
        found: of the person's, in `unit`s.
        removed: of these; in a dry run, what would be.
        unit: what is counted.
        remains: what is left there, and until when; empty where nothing is.
    """

    name: str
    where: str
    files: int = 0
    size: int = 0
    found: int = 0
    removed: int = 0
    unit: str = "rows"
    remains: str = ""


class Receipt(Document):
    """One erasure. It names nobody: who asked for it knows whom.

    Attributes:
        shop: whose customer.
        is_dry_run: nothing was written or removed.
        erasure: number of the record in the store's log; none in a dry run.
        ids: under how many ids the person was known.
        erased_at: events up to this time are covered; later ones under the same id are of somebody new.
        actor, reason: who asked for it and why.
        places: that were searched.
        notes: what the places do not say.
    """

    shop: str
    is_dry_run: bool
    erasure: int | None
    ids: int
    erased_at: UtcTime
    actor: str
    reason: str
    places: tuple[Place, ...]
    notes: tuple[str, ...]


def render(receipt: Receipt, console: Console) -> None:
    """Print a receipt for a person."""
    did = "would be removed" if receipt.is_dry_run else "removed"
    table = Table("place", "searched", "found", did, "remains", show_lines=True)
    for place in receipt.places:
        table.add_row(Text(f"{place.name}\n{place.where}"), f"{place.files:,} files\n{place.size:,} bytes",
                      f"{place.found:,} {place.unit}", f"{place.removed:,}", Text(place.remains))
    number = "dry run, nothing is erased; --yes does it" if receipt.is_dry_run else f"erasure {receipt.erasure}"
    console.print(f"{receipt.shop}: {number}", highlight=False)
    console.print(f"{receipt.ids} ids of one person, up to {receipt.erased_at:%Y-%m-%d %H:%M:%S} UTC, by "
                  f"{receipt.actor}: {receipt.reason}", highlight=False, markup=False, soft_wrap=True)
    console.print(table)
    for note in receipt.notes:
        console.print(f"- {note}", highlight=False, markup=False, soft_wrap=True)


def listed(names: Iterable[object], most: int = 10) -> str:
    """Names with commas, the first of them where they are many."""
    found = [str(name) for name in names]
    return ", ".join(found[:most]) + (f" and {len(found) - most:,} more" if len(found) > most else "")
