"""Promoters that race or go stale: `python -m tests.faults.promoters race|stale JOB.json RESULT.json`."""

import json
import os
import random
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from pipelines.errors import BundleRefused, ReleaseConflict
from serving.store import ReleaseStore
from tests.faults.kills import forked
from tests.faults.small_release import before_each_step, digest_of_folder, read_whole, release_of, write_bundle


def attempt(store: ReleaseStore, own: int, turn: int, digest: str, draw: random.Random) -> list[Any]:
    """Promote on what is live, sometimes with older data; [parent, number or None, mark]."""
    live = store.live()
    mark = f"{own}.{turn}"
    newest = (live.as_of - release_of(digest, mark, None).as_of).days if live else 0
    day = newest + draw.choice((0, 0, 1, 1, 2, -1))
    release = release_of(digest, f"bundle of {own}", live.number if live else None, max(day, 0), actor=mark)
    try:
        done = store.commit(release)
    except ReleaseConflict:
        return [release.parent, None, mark]
    return [release.parent, done.number if done.actor == mark else None, mark]


def race(job: dict[str, Any]) -> dict[str, Any]:
    """`promoters` processes make `turns` attempts each, while one reader reads."""
    scratch, root, options = Path(job["scratch"]), job["root"], job["options"]
    folders = [write_bundle(scratch / f"bundle{own}", f"bundle of {own}") for own in range(job["promoters"])]
    digests = [digest_of_folder(folder) for folder in folders]

    def run(own: int) -> None:
        store, draw = ReleaseStore(root, options, scratch / f"cache{own}"), random.Random(f"{job['seed']} {own}")
        store.add_bundle(folders[own])
        told = [attempt(store, own, turn, digests[own], draw) for turn in range(job["turns"])]
        (scratch / f"told{own}.json").write_text(json.dumps(told))

    def watch() -> None:
        store, seen, reads = ReleaseStore(root, options, scratch / "watcher"), [0], 0
        while not (scratch / "stop").exists():
            live = read_whole(store)
            if live and live.number != seen[-1]:
                seen.append(live.number)
            reads += 1
        (scratch / "watched.json").write_text(json.dumps({"seen": seen, "reads": reads}))

    watcher = forked(watch)
    promoters = [forked(lambda own=own: run(own)) for own in range(job["promoters"])]
    statuses = [os.waitpid(promoter, 0)[1] for promoter in promoters]
    (scratch / "stop").touch()
    statuses.append(os.waitpid(watcher, 0)[1])
    return {"statuses": statuses, "watched": json.loads((scratch / "watched.json").read_text()),
            "told": [one for own in range(job["promoters"])
                     for one in json.loads((scratch / f"told{own}.json").read_text())]}


def stale(job: dict[str, Any]) -> dict[str, Any]:
    """Stop a promoter before one of its steps, let its retry promote, wake it, and see how it ends."""
    scratch, root, steps = Path(job["scratch"]), job["root"], []
    store = ReleaseStore(root)
    store.commit(release_of(store.add_bundle(write_bundle(scratch / "first", "first")), "first", None))
    outcomes: dict[str, int] = {}
    for number in range(job["cases"]):
        parent = store.live()
        assert parent is not None
        own, retry = (write_bundle(scratch / name, f"{name} {number}") for name in ("stale", "retry"))
        (scratch / "stale.json").unlink(missing_ok=True)
        zombie = forked(lambda n=number, f=own, p=parent.number: zombify(root, f, p, n, scratch))
        _, status = os.waitpid(zombie, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            digest = store.add_bundle(retry)
            store.commit(release_of(digest, f"retry {number}", parent.number, actor="retry"))
            os.kill(zombie, signal.SIGCONT)
            _, status = os.waitpid(zombie, 0)
            end = json.loads((scratch / "stale.json").read_text())
            outcomes[end["outcome"]] = outcomes.get(end["outcome"], 0) + 1
            steps.append(end["step"])
        else:
            outcomes["never stopped"] = outcomes.get("never stopped", 0) + 1
        for folder in (own, retry):
            shutil.rmtree(folder)
    return {"outcomes": outcomes, "steps": steps}


def zombify(root: str, folder: Path, parent: int, number: int, scratch: Path) -> None:
    """Promote, and stop before step `number` % 20 of the steps up to the one that would make the record visible."""
    left, stopped = number % 20, ""

    def strike(step: str) -> None:
        nonlocal left, stopped
        # The 20th and the very last moment are the same: the record is written beside and not yet linked.
        if not stopped and (left == 0 or step == "link"):
            stopped = step
            os.kill(os.getpid(), signal.SIGSTOP)
        left -= 1

    store = ReleaseStore(root)
    before_each_step(strike)
    try:
        digest = store.add_bundle(folder)
        done = store.commit(release_of(digest, f"stale {number}", parent, actor="stale"))
        outcome = f"released {done.number}"
    except (ReleaseConflict, BundleRefused) as error:
        outcome = type(error).__name__
    (scratch / "stale.json").write_text(json.dumps({"outcome": outcome, "step": stopped}))


if __name__ == "__main__":
    result = {"race": race, "stale": stale}[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()))
    Path(sys.argv[3]).write_text(json.dumps(result))
