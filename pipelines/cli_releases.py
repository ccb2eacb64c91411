"""Commands on releases: releases, diff, rollback, follow, verify, gc. Only rollback, follow and gc change anything.

What they need is imported when they run: `vitrine --help` is to answer at once.
"""

import getpass
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel
from rich.console import Console

from pipelines.errors import SettingsError
from pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from serving.store import Release, ReleaseStore

app = typer.Typer()
console = Console()

Shop = Annotated[str | None, typer.Option(help="Whose releases. Default: the only shop of the store.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it. Without this it is only said what would be done.")]


@app.command()
def releases(
    last: Annotated[int, typer.Option(min=1, help="So many, from the newest.")] = 20,
    refused: Annotated[bool, typer.Option(help="Promotions that were not taken, instead.")] = False,
    shop: Shop = None, as_json: Json = False,
) -> None:
    """List the releases: number, when, who, why, model version, data, metrics, size, and which is live.

    Example: `vitrine releases --last 5`

    Example: `vitrine releases --refused`
    """
    from pipelines.releases import tables

    store, _ = _store(shop)
    if refused:
        shown = store.refusals()[-last:]
        _print_json(shown) if as_json else console.print(tables.refusals_table(shown))
        return
    history, stock = store.history(last), store.shelf.stock()
    live = history[-1].number if history else None
    if as_json:
        rows = [release.model_dump(mode="json") | {
            "is_live": release.number == live, "bytes": stock[release.bundle].size if release.bundle in stock else None,
        } for release in history]
        print(json.dumps(rows, indent=1))
        return
    console.print(tables.releases_table(history, live, stock))


@app.command()
def diff(
    before: Annotated[int, typer.Argument(min=1, help="Number of a release.")],
    after: Annotated[int, typer.Argument(min=1, help="Number of another one.")],
    shop: Shop = None, as_json: Json = False,
) -> None:
    """Compare two releases: data, features, model, index, metrics by slice, items in and out, churn of the top 10.

    The churn is of the histories that the two bundles carry for this purpose.

    Example: `vitrine diff 41 42`
    """
    from pipelines.releases import tables
    from pipelines.releases.diff import diff as compare

    store, _ = _store(shop)
    found = compare(store, before, after)
    if as_json:
        _print_json([found])
        return
    for table in tables.diff_tables(found):
        console.print(table)


@app.command()
def rollback(
    reason: Annotated[str, typer.Option(help="Why; stands in the record.")],
    to: Annotated[int | None, typer.Option(min=1, help="Number of a release. Default: what was live before.")] = None,
    yes: Yes = False, shop: Shop = None, as_json: Json = False,
) -> None:
    """Make an older bundle live again, by a new record of the log. Without --yes it only says what it would do.

    Example: `vitrine rollback --reason "empty slates in Italy"`

    Example: `vitrine rollback --to 41 --reason "empty slates in Italy" --yes`
    """
    from pipelines.contracts import Origin
    from pipelines.releases.operate import RollbackParams
    from pipelines.releases.operate import rollback as roll_back

    params = RollbackParams(reason=reason, to=to, shop=shop, dry_run=not yes)
    release = roll_back(params, Origin(actor=getpass.getuser(), reason=reason), load_settings())
    if as_json:
        print(json.dumps(release.model_dump(mode="json") | {"is_dry_run": not yes}, indent=1))
        return
    word = "is live" if yes else "would be live (dry run; --yes does it)"
    console.print(f"release {release.number} {word}: bundle {release.bundle[:12]} of release {release.restores}, data "
                  f"up to {release.as_of:%Y-%m-%d %H:%M}, in place of release {release.parent}",
                  highlight=False, soft_wrap=True)


@app.command()
def follow(shop: Shop = None) -> None:
    """Let MLflow's alias champion follow the live release, where it could not when that was released.

    Exit status 1 where it still cannot.

    Example: `vitrine follow`
    """
    from pipelines.releases.champion import follow as follow_release

    store, places = _store(shop)
    live = _live(store)
    if not follow_release(live, places):
        raise typer.Exit(1)
    console.print(f"champion is {live.model_name} {live.model_version} of release {live.number}", highlight=False)


@app.command()
def verify(
    number: Annotated[int | None, typer.Argument(min=1, help="Number of a release. Default: the live one.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every release whose bundle is still there.")] = False,
    shop: Shop = None, as_json: Json = False,
) -> None:
    """Check a release: its record, every byte of its bundle, and its answers. Exit status 1 where one fails.

    Example: `vitrine verify`

    Example: `vitrine verify 41`
    """
    from pipelines.releases import tables
    from pipelines.releases.verify import verify as look_at

    store, _ = _store(shop)
    stock = store.shelf.stock()
    numbers = [number or _live(store).number]
    if every:
        # One release for each bundle: a rollback names a bundle a second time.
        numbers = sorted({release.bundle: release.number for release in store.history()
                          if release.bundle in stock}.values())
    findings = [finding for one in numbers for finding in look_at(store, one)]
    _print_json(findings) if as_json else console.print(tables.findings_table(findings))
    if not all(finding.passed for finding in findings):
        raise typer.Exit(1)


@app.command()
def gc(
    keep: Annotated[int, typer.Option(min=0, help="Bundles to keep besides the live one, to roll back to.")] = 3,
    grace_minutes: Annotated[float, typer.Option(min=0, help="Nothing younger goes, or in use so lately.")] = 60,
    yes: Yes = False, shop: Shop = None, as_json: Json = False,
) -> None:
    """Remove bundles that are neither live, nor among the previous ones, nor leased. Records stay.

    Without --yes it only says what would go.

    Example: `vitrine gc --keep 5`

    Example: `vitrine gc --keep 5 --yes`
    """
    from pipelines.releases import tables
    from pipelines.releases.collect import Keeping, collect, plan

    store, _ = _store(shop)
    keeping, now = Keeping(previous=keep, grace=timedelta(minutes=grace_minutes)), datetime.now(UTC)
    fates = plan(store, keeping, now)
    removed = collect(store, fates, keeping, now) if yes else [fate for fate in fates if not fate.is_kept]
    if as_json:
        print(json.dumps({"is_dry_run": not yes, "removed" if yes else "would_remove": [f.bundle for f in removed],
                          "bundles": [fate.model_dump(mode="json") for fate in fates]}, indent=1))
        return
    console.print(tables.fates_table(fates))
    word = "removed" if yes else "would go (dry run; --yes removes them)"
    console.print(f"{len(removed)} of {len(fates)} bundles, {tables.megabytes(sum(f.size for f in removed))}, {word}",
                  highlight=False)


def _store(shop: str | None) -> "tuple[ReleaseStore, Settings]":
    from pipelines.releases.opening import of_one_shop, open_store

    places = of_one_shop(load_settings(), shop)
    return open_store(places), places


def _live(store: "ReleaseStore") -> "Release":
    live = store.live()
    if live is None:
        raise SettingsError(f"{store.root} has no release")
    return live


def _print_json(documents: Sequence[BaseModel]) -> None:
    print(json.dumps([document.model_dump(mode="json") for document in documents], indent=1))
