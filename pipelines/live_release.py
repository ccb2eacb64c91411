"""A shop's live release, asked from the command line, and its answers as tables."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.errors import DataError, SettingsError
from pipelines.releases.opening import of_one_shop, open_store
from pipelines.settings import load_settings
from serving.bundle import Bundle
from serving.recommender import Recommendation, Recommender


def live_recommender(shop: str | None) -> Recommender:
    """The live release of a shop; of the only one that has any where none is named.

    Raises:
        SettingsError: no release is live, or several shops have one.
        BundleRefused, CorruptArtifact: the live bundle or its record is not whole.
    """
    store = open_store(of_one_shop(load_settings(), shop))
    release = store.live()
    if release is None:
        raise SettingsError(f"no release is live in {store.root}: release one by `vitrine retrain --data FOLDER`")
    return Recommender(Bundle.load(store.bundle_path(release.bundle), release.bundle))


def row_of(bundle: Bundle, item: str) -> int:
    """Row of an item.

    Raises:
        DataError: the bundle does not have it.
    """
    if item not in bundle.rows:
        raise DataError(f"the live release has no product {item!r}; its {bundle.num_items:,} ids are like "
                        f"{bundle.item_ids[0]!r}, and `vitrine search` finds them by words")
    return bundle.rows[item]


def name_of(bundle: Bundle, row: int) -> str:
    """What people call an item: its title, or its id where it has none."""
    shown = bundle.display(row)
    return str(shown["title"] or shown["item_id"])


def show(bundle: Bundle, title: str, found: Sequence[Recommendation]) -> None:
    """Print an answer, best first."""
    table = Table(title=Text(title), title_justify="left", title_style="bold")
    shown = [bundle.display(answer.row) for answer in found]
    columns = ["item_id", *(name for name in ("title", "category", "price") if bundle.spec["display"][name])]
    for name in ("", *columns, "score"):
        table.add_column(name, justify="right" if name in ("", "price", "score") else "left", overflow="fold")
    for place, (answer, values) in enumerate(zip(found, shown, strict=True), 1):
        cells = (f"{v:,.2f}" if isinstance(v, float) else "" if v is None else str(v)
                 for v in (values[name] for name in columns))
        table.add_row(str(place), *map(Text, cells), f"{answer.score:.3f}")
    Console(highlight=False).print(table)
