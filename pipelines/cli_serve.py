"""Commands of the online process: serve, keys. What they need is imported when they run."""

import logging
import sys
from pathlib import Path
from typing import Annotated, cast

import typer
from pydantic import ValidationError

from pipelines.errors import SettingsError
from pipelines.settings import load_settings
from pipelines.validation import faults_of

app = typer.Typer()


@app.command()
def serve(
    shop: Annotated[str | None, typer.Option(help="Whose releases. Default: the only shop of the store.")] = None,
    wait: Annotated[bool, typer.Option(
        "--wait", help="Start before the first release of --shop, and take it up when it comes.")] = False,
    host: Annotated[str, typer.Option(help="Address; others than the loopback need keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535)] = 8000,
    threads: Annotated[int, typer.Option(min=1, max=64, help="That answer at once, of each process.")] = 4,
    processes: Annotated[int, typer.Option(
        min=1, max=64, help="That share the port: one a core, and their sessions in Redis, for many shoppers.")] = 1,
    storefront: Annotated[bool | None, typer.Option(
        help="Pages for people at /, which need no key. Default: only where nobody needs one.")] = None,
    name: Annotated[str, typer.Option(help="Of the shop, on its pages.")] = "Vitrine",
    currency: Annotated[str | None, typer.Option(help="ISO 4217 code of the prices, such as EUR.")] = None,
    personas: Annotated[int, typer.Option(
        min=0, max=26, help="Histories of the release's panel that a visitor may shop with; 0 for a public shop.")] = 4,
    rules: Annotated[Path | None, typer.Option(
        help="JSON file of merchandising rules for recommendations that bring none, see docs/rules.md.")] = None,
    member: Annotated[str | None, typer.Option(hidden=True)] = None,  # what a keeper of several tells each
) -> None:
    """Answer over HTTP from the live release, and follow the release log; ends on Ctrl-C.

    The session store is VITRINE_SESSIONS (a file, or redis://), keys of clients are in the file VITRINE_API_KEYS,
    events are laid down in VITRINE_LANDING for the next ingest. /openapi.json describes all routes.

    Example: `vitrine serve --port 8000 --currency EUR`
    """
    if processes > 1 and member is None:
        from pipelines.serve_processes import keep

        raise typer.Exit(keep(sys.argv[1:], processes, host, port))
    from pipelines.serve import serve as run
    from pipelines.serve_processes import Member
    from serving.api.settings import ApiSettings
    from serving.rules import NO_RULES, load_rules
    from serving.storefront.settings import StorefrontSettings

    access = logging.getLogger("vitrine.access")
    access.propagate = False  # its lines are JSON, for programs
    access.addHandler(logging.StreamHandler(sys.stdout))
    places = load_settings()
    pages = None
    if storefront if storefront is not None else places.api_keys is None:
        try:
            pages = StorefrontSettings(name=name, currency=currency, personas=personas)
        except ValidationError as error:
            raise SettingsError(faults_of(error, "--")) from error
    if wait and shop is None:
        raise SettingsError("--wait without --shop: name the shop whose first release is to come")
    run(places, shop, host, port, ApiSettings(threads=threads), pages, load_rules(rules) if rules else NO_RULES, wait,
        Member.model_validate_json(member) if member is not None else None)


@app.command()
def keys(
    file: Annotated[Path, typer.Argument(help="File of keys; made where there is none.")],
    name: Annotated[str, typer.Option(help="Of the client, as logs and metrics call it.")],
    scopes: Annotated[str, typer.Option(help="Of serve, events and operate, with commas.")] = "serve,events",
    per_second: Annotated[float, typer.Option(help="Requests a second, on average.")] = 100.0,
    burst: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 200,
) -> None:
    """Make a key for a client of the API: it is shown once, the file keeps its SHA-256 alone.

    Example: `vitrine keys .vitrine/keys.json --name shop --scopes serve,events`
    """
    from serving.api.keys import SCOPES, KeyRing, Scope, new_key, save

    wanted = tuple(scope.strip() for scope in scopes.split(","))
    if not set(wanted) <= set(SCOPES):
        raise SettingsError(f"--scopes {scopes}: give some of {', '.join(SCOPES)}, with commas")
    known = KeyRing.load(file).clients if file.exists() else ()
    key, client = new_key(name, cast("tuple[Scope, ...]", wanted), per_second, burst)
    save(KeyRing([*known, client]), file)
    print(key)
