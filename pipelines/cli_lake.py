"""Commands on the lake: `vitrine lake ingest` and `vitrine lake days`."""

import getpass
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from pipelines.contracts import Origin
from pipelines.errors import SettingsError
from pipelines.retrain import resolved
from pipelines.revision import git_revision
from pipelines.settings import load_settings
from pipelines.validation import faults_of

app = typer.Typer(no_args_is_help=True, help="""A shop's log by days: take days in, look at them.

Example: `vitrine lake ingest --data ../shop --from 2026-03-01 --to 2026-03-30`
""")
console = Console()


@app.command()
def ingest(
    data: Annotated[str, typer.Option("--data", help="Folder or Ibis URL with events, items and users.")],
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day, of UTC.")],
    last: Annotated[datetime | None, typer.Option(
        "--to", formats=["%Y-%m-%d"], help="Last day. Default: the first.")] = None,
    late_days: Annotated[int, typer.Option(help="Earlier days to compare and to open again.")] = 7,
    landing: Annotated[bool, typer.Option(help="Take in what the online process laid down.")] = True,
    accept: Annotated[list[str] | None, typer.Option(help="A check that you have looked into; repeatable.")] = None,
    spec: Annotated[Path | None, typer.Option(help="TOML file that overrides names, kinds and weights.")] = None,
    reason: Annotated[str, typer.Option(help="Why; goes into the records.")] = "ingest",
) -> None:
    """Take days of a source into the lake: written aside, audited, published whole. The same again changes nothing.

    Exit status 2 where the data or the audit refuse a day; the days before it are published.

    Example: `vitrine lake ingest --data ../shop --from 2026-03-01 --to 2026-03-30`
    """
    from pipelines.lake_steps import IngestParams, ingest_day

    places, origin = load_settings(), Origin(actor=getpass.getuser(), reason=reason, git_revision=git_revision())
    day, end = first.date(), (last or first).date()
    if end < day:
        raise SettingsError(f"--from {day} is after --to {end}: exchange them")
    while day <= end:
        try:
            params = IngestParams(source=resolved(data), day=day, late_days=late_days, landing=landing,
                                  accept=tuple(accept or ()), spec=str(spec.resolve()) if spec else None, reason=reason)
        except ValidationError as error:
            raise SettingsError(faults_of(error, "--")) from error
        found = ingest_day(params, origin, places)
        again = "".join(f", {one} opened again (+{late:,})" for one, late in found.reopened.items())
        console.print(f"{found.day}  revision {found.revision}  {found.events:,} events{again}", highlight=False)
        day += timedelta(days=1)
    console.print(f"  {places.lake_of(params.shop)}", highlight=False, soft_wrap=True)


@app.command()
def days(
    folder: Annotated[Path, typer.Argument(help="The lake: folder that `vitrine lake ingest` printed.")],
    last: Annotated[int, typer.Option(min=1, help="So many, from the newest.")] = 30,
    as_of: Annotated[datetime | None, typer.Option(
        formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="As they were known at this UTC moment.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the days of a lake: revision, events, since when it is known, who and why.

    Example: `vitrine lake days .vitrine/lake/shop --last 7`
    """
    from pipelines.lake import Lake, is_lake

    if not is_lake(folder):
        raise SettingsError(f"{folder} is no lake: `vitrine lake ingest` prints where one is")
    lake, moment = Lake(folder), as_of and as_of.replace(tzinfo=UTC)
    found = [one for day in lake.days()[-last:] if (one := lake.latest(day, moment)) is not None]
    if as_json:
        print(json.dumps([one.model_dump(mode="json", exclude={"spec"}) for one in found], indent=1))
        return
    table = Table("day", "revision", "events", "known at (UTC)", "who", "why")
    for one in found:
        table.add_row(str(one.day), str(one.revision), f"{one.rows:,}", f"{one.known_at:%Y-%m-%d %H:%M}", one.actor,
                      one.reason)
    console.print(table)
