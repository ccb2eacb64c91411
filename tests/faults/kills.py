"""Publishers that are killed at random while readers read: `python -m tests.faults.kills JOB.json RESULT.json`.

One process forks all the others, so that each costs milliseconds. It touches no store before it forks: the
client of a bucket has threads, which a fork leaves behind.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.store import ReleaseStore
from tests.faults.small_release import read_whole, release_of, write_bundle


def forked(work: Callable[[], None]) -> int:
    """Run `work` in a child; its process id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def publish(store: ReleaseStore, folder: Path, mark: str, acknowledged: Path) -> None:
    """One promotion, as the stage makes it; what the store acknowledged is written down and nothing else."""
    digest = store.add_bundle(folder)
    live = store.live()
    release = store.commit(release_of(digest, mark, live.number if live else None))
    with acknowledged.open("a") as file:
        file.write(f"{json.dumps([release.number, release.bundle, mark])}\n")


def read_for_ever(open_store: Callable[[str], ReleaseStore], own: int, scratch: Path) -> None:
    """Read until the file `stop` is there; counts, faults and backward steps go to a file of the reader's own."""
    store, seen, reads, faults = open_store(f"reader {own}"), 0, 0, []
    while not (scratch / "stop").exists():
        try:
            live = read_whole(store)
            number = live.number if live else 0
            if number < seen:
                faults.append(f"release {number} after release {seen}")
            seen = max(seen, number)
        except Exception as error:
            faults.append(f"{type(error).__name__}: {error}")
        reads += 1
        (scratch / f"count-{own}").write_text(str(reads))
    (scratch / f"reader-{own}.json").write_text(json.dumps({"reads": reads, "faults": faults, "seen": seen}))


def sweep(job: dict[str, Any]) -> dict[str, Any]:
    """Kill `kills` publishers of one store while `readers` read at least `reads` times."""
    scratch, draw = Path(job["scratch"]), random.Random(job["seed"])
    acknowledged = scratch / "acknowledged"
    acknowledged.touch()

    def open_store(machine: str) -> ReleaseStore:
        return ReleaseStore(job["root"], job["options"], scratch / "caches" / machine)

    readers = [forked(lambda own=own: read_for_ever(open_store, own, scratch)) for own in range(job["readers"])]
    longest, kills, ended, number = 0.0, 0, 0, 0
    while kills < job["kills"]:
        mark = f"{job['seed']}-{number}"
        folder = write_bundle(scratch / "work" / mark, mark)
        began = time.monotonic()
        child = forked(lambda f=folder, m=mark: publish(open_store("promoter"), f, m, acknowledged))
        if number % 10 == 0:  # let be: the measure of how long a promotion takes now
            _, status = os.waitpid(child, 0)
            longest = max(0.7 * longest, time.monotonic() - began)
        else:
            time.sleep(draw.uniform(0, longest))
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            kills += os.WIFSIGNALED(status)
        ended += os.WIFEXITED(status)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            raise RuntimeError(f"promotion {mark} failed of itself")
        shutil.rmtree(folder)
        number += 1
    while sum(int(path.read_text() or 0) for path in scratch.glob("count-*")) < job["reads"]:
        time.sleep(0.05)
    (scratch / "stop").touch()
    for reader in readers:
        os.waitpid(reader, 0)
    told = [json.loads((scratch / f"reader-{own}.json").read_text()) for own in range(job["readers"])]
    return {"kills": kills, "ended": ended, "reads": sum(one["reads"] for one in told),
            "seen": max(one["seen"] for one in told), "faults": [fault for one in told for fault in one["faults"]],
            "acknowledged": [json.loads(line) for line in acknowledged.read_text().splitlines()]}


if __name__ == "__main__":
    result = sweep(json.loads(Path(sys.argv[1]).read_text()))
    Path(sys.argv[2]).write_text(json.dumps(result))
