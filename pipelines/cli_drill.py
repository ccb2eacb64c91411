"""The command `vitrine drill`. What it needs is imported when it runs."""

import getpass
from typing import Annotated

import typer

from pipelines.contracts import Origin
from pipelines.settings import load_settings


def drill(
    to: Annotated[int | None, typer.Option(min=1, help="Release to go back to. Default: what was live before.")] = None,
    shop: Annotated[str | None, typer.Option(help="Whose. Default: the only shop of the store.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Rehearse a rollback on a copy of the release log, under a reader, and say how long it took. Nothing changes.

    Example: `vitrine drill`
    """
    from pipelines.releases.drill import DrillParams, rehearse

    found = rehearse(DrillParams(to=to, shop=shop), Origin(actor=getpass.getuser(), reason="drill"), load_settings())
    if as_json:
        print(found.model_dump_json(indent=1))
        return
    typer.echo(f"from release {found.release} to {found.to} in {found.rolled_back_s:.2f} s, {found.lists} lists whole; "
               f"a new reader opened release {found.release} in {found.opened_s:.1f} s; {found.copied_mb:.1f} MB were "
               "copied")
