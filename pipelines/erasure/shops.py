"""Whose customer a person is: a shop may have ingested tables, and no release yet."""

from pipelines.erasure.folders import all_folders, source_of
from pipelines.errors import SettingsError
from pipelines.releases.opening import shops
from pipelines.retrain import shop_of
from pipelines.settings import Settings


def one_known_shop(places: Settings, shop: str | None) -> str:
    """The shop that is meant: the one named, or the only one that has releases or ingested tables.

    Raises:
        SettingsError: there is no such shop, or none was named and there are several or none.
    """
    sources = {source for folder in all_folders(places.artifacts) if (source := source_of(folder)) is not None}
    known = sorted({*shops(places), *map(shop_of, sources)})
    if shop is None and len(known) == 1:
        return known[0]
    if shop is None or shop not in known:
        asked = "it is not said whose customer is meant" if shop is None else f"there is no shop {shop!r}"
        raise SettingsError(f"{asked}: give --shop {' or --shop '.join(known)}" if known else
                            f"there is no shop in {places.store} and {places.artifacts}: set VITRINE_HOME or "
                            "VITRINE_STORE to the installation that is meant")
    return shop
