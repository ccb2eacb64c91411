"""`make production-rehearsal`: docker-compose.yml as processes of this machine, and the whole flow through it."""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.errors import VitrineError
from pipelines.given_settings import parse_settings
from pipelines.sample.write import write_sample
from stack.quick import QUICK
from stack.rehearsal.flow import Flow


def main(arguments: list[str] | None = None) -> int:
    """Go through all steps; status 0 where each saw what it must. Nothing is left running in any case."""
    parser = argparse.ArgumentParser(prog="make production-rehearsal", description=__doc__)
    parser.add_argument("--set", nargs="+", default=QUICK, metavar="STAGE.FIELD=VALUE", help="settings of the retrain")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a rehearsal that went well too")
    options, console = parser.parse_args(arguments), Console()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is ended
    folder = Path(tempfile.mkdtemp(prefix="vitrine-rehearsal-"))
    folder.chmod(0o711)  # PostgreSQL, which does not run as root, has its data below
    began = time.monotonic()
    is_well = False
    try:
        write_sample(folder / "atelier", products=200, customers=400, events=4000, weeks=16)
        is_well = rehearse(Flow(folder, folder / "atelier", parse_settings(options.set)), console)
    except VitrineError as error:
        console.print(f"{type(error).__name__}: {error}", style="bold red", highlight=False,
                      markup=False, soft_wrap=True)
    except KeyboardInterrupt:
        console.print("Interrupted; nothing is left running.")
    finally:
        console.print(f"The rehearsal {'went well' if is_well else 'failed'} after {time.monotonic() - began:.0f} s."
                      + ("" if is_well and not options.keep else f" Logs and files are kept in {folder}."))
    if is_well and not options.keep:
        shutil.rmtree(folder)
    return 0 if is_well else 1


def rehearse(flow: Flow, console: Console) -> bool:
    """Go through the steps, print the table, and end everything.

    Raises:
        VitrineError: a step did not see what it must, or a process could not be ended.
    """
    table = Table("step", "seconds", "what was seen", title="docker-compose.yml, rehearsed without containers")
    table.columns[1].justify = "right"
    try:
        for name, step in flow.steps():
            console.print(f"{name} ...", style="dim")
            began = time.monotonic()
            seen = step()
            table.add_row(name, f"{time.monotonic() - began:.0f}", escape(seen))
    finally:
        began = time.monotonic()
        flow.rehearsal.stop()
        table.add_row("everything ended", f"{time.monotonic() - began:.0f}", "nothing is left running")
        console.print(table)
    return True


if __name__ == "__main__":
    sys.exit(main())
