"""The release stores of an installation, one a shop."""

from pipelines.errors import SettingsError
from pipelines.settings import Settings
from serving.storage import open_storage
from serving.store import RELEASES, ReleaseStore


def open_store(places: Settings) -> ReleaseStore:
    """The store that `places` names, with the installation's keys and cache."""
    return ReleaseStore(places.store, places.client_options, places.bundle_cache)


def shops(places: Settings) -> list[str]:
    """Names of the shops that have a release log, sorted."""
    storage = open_storage(places.store, places.client_options)
    return [shop for shop in storage.folders() if RELEASES in storage.folders(shop)]


def of_one_shop(places: Settings, shop: str | None) -> Settings:
    """The places of the shop that is meant; see `one_shop`."""
    return places.of_shop(one_shop(places, shop))


def one_shop(places: Settings, shop: str | None, is_awaited: bool = False) -> str:
    """The shop that is meant: the one named, or the only one there is.

    Args:
        places: of the installation.
        shop: its name; None for the only one.
        is_awaited: one that is named may have no release yet.

    Raises:
        SettingsError: it has no releases, or none was named and there are several or none.
    """
    known = shops(places)
    if is_awaited and shop is not None:
        return shop
    if shop is None and len(known) == 1:
        shop = known[0]
    if not known:
        raise SettingsError(f"there is no release in {places.store}: run `vitrine retrain`, or set VITRINE_STORE to "
                            "the store that is meant")
    if shop is None or shop not in known:
        asked = "several shops have releases here" if shop is None else f"there is no shop {shop!r}"
        raise SettingsError(f"{asked}: give --shop {' or --shop '.join(known)}")
    return shop
