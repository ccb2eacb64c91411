"""The command `vitrine erase-user`. What it needs is imported when it runs."""

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from pipelines.settings import load_settings


def erase_user(
    user: Annotated[str, typer.Argument(metavar="ID", help="Any id of the person; those merged with it go too.")],
    reason: Annotated[str, typer.Option(help="Why; is kept for good, and is not to name the person.")] = "asked for",
    actor: Annotated[str | None, typer.Option(help="Who asks for it. Default: who runs the command.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without this it is only searched.")] = False,
    shop: Annotated[str | None, typer.Option(help="Whose customer. Default: the only shop there is.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Erase a person: from every answer within a second, from files, and from all that is made later.

    Without --yes it only says where the person was found. What was removed and what remains stands in the receipt.
    A retrain under way whose data held the person ends, and has to be started anew.

    Example: `vitrine erase-user C-00042`

    Example: `vitrine erase-user C-00042 --reason "request 17" --yes`
    """
    from pipelines.erasure.erase import erase_user as erase
    from pipelines.erasure.receipt import render
    from pipelines.erasure.shops import one_known_shop

    places = load_settings()
    receipt = erase(user, one_known_shop(places, shop), places, actor=actor or getpass.getuser(), reason=reason,
                    at=datetime.now(UTC), is_dry_run=not yes)
    if as_json:
        print(receipt.model_dump_json(indent=1))
        return
    render(receipt, Console())
