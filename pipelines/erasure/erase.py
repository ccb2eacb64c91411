"""Erasing a person: what `vitrine erase-user` does, callable from a scheduler.

    1. record     one erasure in the store: from here on nobody knows the person, in any process, also after a kill
    2. search     session store, landing folder, sealed folders and attempts, bundles, every other file below home
    3. record     histories of the person that bundles show, where the search found any
    4. remove     landing rows, folders, MLflow's tables, and the session store last, which knows the person's other ids

Done again it ends in the same state: what was removed is not found, and the records stand.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipelines.addresses import redacted
from pipelines.erasure import folders
from pipelines.erasure.elsewhere import Elsewhere, search_elsewhere
from pipelines.erasure.person import Person
from pipelines.erasure.receipt import Place, Receipt, listed
from pipelines.mlflow_place import artifact_folders
from pipelines.moments import moment_of
from pipelines.progress import log
from pipelines.releases.opening import open_store, shops
from pipelines.settings import Settings
from serving.bundle_files import PANEL
from serving.landing import LandingFolder
from serving.landing_sweep import Swept, sweep
from serving.panel import Shopper
from serving.sessions.contract import SessionStore
from serving.sessions.opening import open_sessions
from serving.store import ReleaseStore

PATIENCE_S = 5.0  # for running processes to seal their journals, which they do within a second


@dataclass(frozen=True)
class Found:
    """Where a person was found."""

    session_events: int
    swept: Swept
    folders: folders.Search
    bundles: dict[str, list[Shopper]]  # digest -> histories of the person in its panel
    stock: int  # bundles whose panels were looked at
    read: int  # bytes of these
    elsewhere: Elsewhere


def erase_user(
    user_id: str, shop: str, places: Settings, *, actor: str, reason: str, at: datetime, is_dry_run: bool
) -> Receipt:
    """Erase a person under all ids of the profile.

    Args:
        user_id: any id of the person.
        shop: whose customer.
        places: of the installation, not of the shop.
        actor, reason: who asked for it and why; stand in the record for good, so that they are not to name the person.
        at: now.
        is_dry_run: only search, and say what would be removed.

    Raises:
        SessionsUnavailable, StoreUnreachable, LandingUnavailable: a place does not answer; do it again, it goes on.
        CorruptArtifact: the log of erasures is damaged.
    """
    store, others = open_store(places.of_shop(shop)), frozenset(shops(places)) - {shop}
    with ExitStack() as open_places:
        sessions = _sessions(places, shop)
        if sessions is not None:
            open_places.enter_context(closing(sessions))
        ids = sessions.profile(user_id) if sessions is not None else [user_id]
        person = Person(ids, store.erasures.read())
        events_us = [event.time_us for event in sessions.history(user_id)] if sessions is not None else []
        number = None
        if not is_dry_run:
            # Before the search, which takes minutes where there is much to read.
            number = store.erasures.erase(ids, at=at, actor=actor, reason=reason, newest=_newest(events_us)).number
            log.info("erasure %d is in force; now what holds the person is searched", number)
        found = _search(person, len(events_us), shop, others, places, store)
        removed, swept, is_scrubbed = len(found.folders.held), found.swept, False
        if not is_dry_run:
            histories = [*found.folders.histories, *(one for own in found.bundles.values() for one in own)]
            store.erasures.erase(ids, at=at, actor=actor, reason=reason, histories=histories,
                                 newest=_newest([found.swept.newest_us, found.folders.newest_us]))
            swept = _sweep_landing(places.landing_of(shop), person)
            removed = folders.remove(places.artifacts, others, person, found.folders)
            for path in found.elsewhere.of_mlflow:
                path.unlink(missing_ok=True)
            if sessions is not None:
                sessions.forget(user_id)
                is_scrubbed = sessions.scrub()
        return Receipt(
            shop=shop, is_dry_run=is_dry_run, erasure=number, ids=len(ids), erased_at=at, actor=actor, reason=reason,
            places=(_of_sessions(found, places, shop, is_there=sessions is not None,
                                 is_scrubbed=is_scrubbed or is_dry_run),
                    _of_landing(found, swept, places.landing_of(shop)), _of_folders(found, removed, places.artifacts),
                    _of_bundles(found, store), *_of_elsewhere(found.elsewhere, places)),
            notes=_notes(found, places))


def _sessions(places: Settings, shop: str) -> SessionStore | None:
    """The session store; none where its file was never made, which looking is not to do."""
    place = places.sessions_of(shop)
    return open_sessions(place, prefix=f"vitrine:{shop}") if "://" in place or Path(place).exists() else None


def _newest(times_us: Iterable[int | None]) -> datetime | None:
    known = [time_us for time_us in times_us if time_us is not None]
    return moment_of(max(known)) if known else None


def _search(
    person: Person, session_events: int, shop: str, others: frozenset[str], places: Settings, store: ReleaseStore
) -> Found:
    swept = sweep(places.landing_of(shop), lambda user, _: user in person, is_dry=True)
    own = folders.search(places.artifacts, others, person)
    bundles, read, stock = dict[str, list[Shopper]](), 0, sorted(store.shelf.stock())
    for digest in stock:
        try:
            panel, provenance = store.shelf.read(digest, PANEL), store.shelf.read(digest, folders.PROVENANCE)
        except FileNotFoundError:  # made before there were panels, or removed meanwhile
            continue
        read += len(panel) + len(provenance)
        if histories := folders.histories_of(panel, provenance, own.events):
            bundles[digest] = histories
    searched = [places.artifacts, places.landing_of(shop), *_session_files(places, shop)]
    return Found(session_events, swept, own, bundles, len(stock), read, search_elsewhere(places, person, searched))


def _session_files(places: Settings, shop: str) -> Sequence[Path]:
    place = places.sessions_of(shop)
    return () if "://" in place else [Path(f"{place}{suffix}") for suffix in ("", "-wal", "-shm")]


def _sweep_landing(folder: Path, person: Person) -> Swept:
    """Take the person out of the landing folder; journals of running processes are waited for a while."""
    if not folder.is_dir():
        return sweep(folder, lambda user, _: user in person, is_dry=False)
    LandingFolder(folder, drop=lambda user, _: user in person)  # seals what dead processes left
    ends = time.monotonic() + PATIENCE_S
    while (swept := sweep(folder, lambda user, _: user in person, is_dry=False)).in_journals:
        if time.monotonic() > ends:
            break
        time.sleep(0.1)
    return swept


def _of_sessions(found: Found, places: Settings, shop: str, *, is_there: bool, is_scrubbed: bool) -> Place:
    place = places.sessions_of(shop)
    where = "Redis" if "://" in place else place  # a URL may hold a password
    if not is_there:
        return Place(name="session store", where=where, unit="events", remains="there is none")
    remains = "ids of events, without whose they are, so that a repeated delivery does not bring them back"
    if not is_scrubbed:
        remains += "; deleted values in the store's own files, until it rewrites them (Redis: BGREWRITEAOF, BGSAVE)"
    sizes = [path.stat().st_size for path in _session_files(places, shop) if path.exists()]
    return Place(name="session store", where=where, files=len(sizes), size=sum(sizes), found=found.session_events,
                 removed=found.session_events, unit="events", remains=remains)


def _of_landing(found: Found, swept: Swept, folder: Path) -> Place:
    left = swept.in_journals if swept is not found.swept else 0
    return Place(name="landing folder", where=str(folder), files=found.swept.files, size=found.swept.size,
                 found=found.swept.rows, removed=found.swept.rows - left,
                 remains=f"{left} rows in journals of running processes that do not follow this store: they seal them "
                         "within a minute; do it again then" if left else "")


def _of_folders(found: Found, removed: int, root: Path) -> Place:
    torn = found.folders.torn
    return Place(name="sealed folders and attempts", where=str(root), files=found.folders.files,
                 size=found.folders.size, found=len(found.folders.held), removed=removed, unit="folders",
                 remains=f"{len(torn)} files that nobody can read, of processes that write or were killed: "
                         f"{listed(torn)}" if torn else "")


def _of_bundles(found: Found, store: ReleaseStore) -> Place:
    releases = {digest: [one.number for one in store.history() if one.bundle == digest] for digest in found.bundles}
    histories = sum(map(len, found.bundles.values()))
    named = listed(f"{digest[:12]} (releases {listed(numbers) or 'none'})" for digest, numbers in releases.items())
    return Place(name="bundles", where=store.root, files=found.stock, size=found.read, found=histories,
                 unit="histories",
                 remains=f"histories without any id in the panels of {named}: shown to nobody from now on, and gone "
                         "with the bundles, by `vitrine gc` after later releases" if histories else "")


def _of_elsewhere(found: Elsewhere, places: Settings) -> tuple[Place, Place]:
    left = []
    if found.tables:
        left.append(f"rows in {listed(found.tables)}: not made by a stage, so they are their owner's to remove")
    if found.mentioned:
        left.append(f"an id, or the same letters by coincidence, in {listed(found.mentioned)}: logs and databases of "
                    "other programs go by their own retention")
    return (
        Place(name="MLflow's artefacts", where=listed(artifact_folders(places)), files=found.mlflow_files,
              size=found.mlflow_size, found=len(found.of_mlflow), removed=len(found.of_mlflow), unit="tables"),
        Place(name="every other file", where=str(places.home), files=found.files, size=found.size,
              found=len(found.tables) + len(found.mentioned), unit="files", remains="; ".join(left)),
    )


def _notes(found: Found, places: Settings) -> tuple[str, ...]:
    sources = sorted(found.folders.sources) or ([redacted(places.source)] if places.source else [])
    notes = [
        f"The raw source tables stay the owner's and were not touched: {listed(sources) or 'the source'} still holds "
        "whatever it held. Ingest leaves the person out from now on.",
        "Models learned from everybody together keep no row of anybody; those trained from now on learn without the "
        "person.",
        "Backups, and copies of feeds that were sent on, are not within reach.",
    ]
    if places.mlflow_uri.startswith("http"):
        notes.append("Of MLflow what lies on this machine was searched; Vitrine writes no ids of customers there.")
    return tuple(notes)
