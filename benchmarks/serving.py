"""The online process under load: latency at a rate, the largest rate, start, memory, and what one would have instead.

    python -m benchmarks.serving --home /tmp/vitrine-serving --items 1000000

The release is generated once and kept in the folder (benchmarks/serving_world.py). The server is `vitrine serve` in a
process of its own, or several at one port, the load generator (benchmarks/serving_load.py) another on the same machine.
Each request is one shopper's of whom 50 events are stored, with one event of the moment: 51 visits, of which the tower
reads the last 50.
A rate is sustained where every request is answered rightly and the 99th percentile stays below 50 ms.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmarks.serving_world import SHOP, write_sessions

RATES = (100, 200, 300, 400, 500, 600, 800, 1000, 1250, 1500, 2000, 2500, 3000, 4000)
AIMS = {"p50_ms": 1.0, "p99_ms": 5.0, "ready_s": 5.0, "memory_of_bundle": 1.5, "over_keras": 50.0}
_SUSTAINED_P99_MS = 50.0
_START_S = 300.0


@contextmanager
def serving(home: Path, port: int, processes: int = 1) -> Iterator[tuple[psutil.Process, float]]:
    """What serves the release in `home`, and the seconds from its start to the first 200 at /ready.

    Args:
        home: of the release.
        port: to answer at.
        processes: that answer; all do when this begins, under one that keeps them where they are several.

    Raises:
        RuntimeError: it ended, or was not ready within five minutes; the message has its last words.
    """
    said, began = home / "serve.log", time.perf_counter()
    with said.open("w") as log, subprocess.Popen(
        ["env", f"VITRINE_HOME={home}", sys.executable, "-W", "ignore", "-m", "pipelines.cli", "serve", "--port",
         str(port), *(["--processes", str(processes)] if processes > 1 else [])], stdout=log, stderr=subprocess.STDOUT,
    ) as child:
        try:
            ready_s = None
            while ready_s is None or said.read_text().count(f"serving {SHOP} at ") < processes:
                if child.poll() is not None or time.perf_counter() - began > _START_S:
                    raise RuntimeError(f"`vitrine serve` is not ready after {time.perf_counter() - began:.0f} s, "
                                       f"status {child.poll()}: {said.read_text()[-1000:]}")
                if ready_s is None and _is_ready(port):
                    ready_s = time.perf_counter() - began
                time.sleep(0.02)
            yield psutil.Process(child.pid), ready_s
        finally:
            child.terminate()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def free_port() -> int:
    """A port of the loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def memory_mb(process: psutil.Process) -> dict[str, float]:
    """MB of what serves, and of the processes beside it that try the next release, each page counted once."""
    found = {"server": 0.0, "beside": 0.0}
    for one in (process, *process.children(recursive=True)):
        found["beside" if "serving.rehearsal" in one.cmdline() else "server"] += one.memory_full_info().pss / 2**20
    return found


def _worked_s(process: psutil.Process) -> float:
    """Processor time of what serves so far."""
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))


def load(process: psutil.Process, port: int, items: int, rate: float, seconds: float, more: Mapping[str, int]
         ) -> dict[str, Any]:
    """One run of the load generator, with the processor time that an answer took the server."""
    options = {"port": port, "items": items, "rate": rate, "seconds": seconds, **more}
    before = _worked_s(process)
    found = _json_of("benchmarks.serving_load", options)
    worked = _worked_s(process) - before
    return found | {"server_cpu_ms": 1000 * worked / max(1, found["answered"]),
                    "load_average": os.getloadavg()[0]}


def _json_of(module: str, options: Mapping[str, object]) -> dict[str, Any]:
    """What a module of this package prints last, as JSON."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    ended = subprocess.run([sys.executable, "-W", "ignore", "-m", module, *words], check=False, capture_output=True,
                           text=True)
    if ended.returncode:
        raise RuntimeError(f"{module} ended with status {ended.returncode}: {ended.stderr[-1000:]}")
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def is_sustained(run: Mapping[str, Any]) -> bool:
    """Whether the server kept up: all answered rightly, and nearly all soon."""
    return not run["wrong"] and not run["unanswered"] and run["p99_ms"] <= _SUSTAINED_P99_MS


def measure(home: Path, items: int, rate: float, seconds: float, more: Mapping[str, int], reference: bool,
            most: float, processes: int = 1) -> dict[str, Any]:
    """All figures of one release; see `main` for the arguments."""
    write_sessions(home, items)
    (bundle,) = (home / "store" / SHOP / "bundles").iterdir()
    bundle_mb = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()) / 2**20
    port, found = free_port(), dict[str, Any]()
    with serving(home, port, processes) as (process, ready_s):
        load(process, port, items, min(rate, 100), min(seconds, 2), more)  # fills caches
        found |= {"items": items, "processes": processes, "ready_s": ready_s, "bundle_mb": bundle_mb,
                  "at_rate": load(process, port, items, rate, seconds, more), "rates": []}
        for tried in (one for one in RATES if one <= most):
            found["rates"].append(load(process, port, items, tried, seconds, more))
            typer.echo(f"{tried:>5} a second: {_said(found['rates'][-1])}")
            if not is_sustained(found["rates"][-1]):
                break
        found["memory_mb"] = memory_mb(process)
    held = [run["rate"] for run in found["rates"] if is_sustained(run)]
    found["sustained_per_s"] = max(held, default=0)
    found["memory_of_bundle"] = sum(found["memory_mb"].values()) / bundle_mb
    if reference:
        found["keras"] = _json_of("benchmarks.serving_reference", {"home": home, "k": more["k"]})
        found["over_keras"] = {
            "answers_per_s": max(run["answered_per_s"] for run in found["rates"]) / found["keras"]["per_s"],
            "latency": found["keras"]["p50_ms"] / found["at_rate"]["p50_ms"],
            "processor_time": found["keras"]["cpu_ms"] / found["at_rate"]["server_cpu_ms"]}
    return found


def _said(run: Mapping[str, Any]) -> str:
    return (f"p50 {run['p50_ms']:.2f} ms, p99 {run['p99_ms']:.2f} ms, {run['answered_per_s']:.0f} answered a second, "
            f"{run['unanswered']} not at all, wrong {run['wrong']}; {run['server_cpu_ms']:.2f} ms of processor time "
            f"each; load average {run['load_average']:.1f}")


def report(found: Mapping[str, Any]) -> str:
    """The figures beside what is aimed at."""
    at, memory = found["at_rate"], found["memory_mb"]
    lines = [
        f"At {at['rate']:g} requests a second: {_said(at)} (aim: p50 {AIMS['p50_ms']:g} ms, p99 {AIMS['p99_ms']:g} ms)",
        f"Largest sustained rate: {found['sustained_per_s']:g} a second",
        f"Start to ready: {found['ready_s']:.1f} s (aim: {AIMS['ready_s']:g})",
        f"Memory: {memory['server']:,.0f} MB and {memory['beside']:,.0f} MB beside it for a bundle of "
        f"{found['bundle_mb']:,.0f} MB: x{found['memory_of_bundle']:.2f} (aim: {AIMS['memory_of_bundle']:g})"]
    if "keras" in found:
        over = found["over_keras"]
        lines.append(f"keras.predict and every item: {found['keras']['p50_ms']:.1f} ms an answer; Vitrine over HTTP: "
                     f"x{over['answers_per_s']:.0f} the answers a second, x{over['latency']:.0f} in latency, "
                     f"x{over['processor_time']:.0f} in processor time (aim: {AIMS['over_keras']:g})")
    return "\n".join(lines)


def main(
    home: Annotated[Path, typer.Option(help="Folder that the release is made in, and found in again.")],
    items: Annotated[int, typer.Option(min=1000)] = 1_000_000,
    rate: Annotated[float, typer.Option(min=1, help="Requests a second at which latency is told.")] = 1000,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of each run.")] = 10,
    connections: Annotated[int, typer.Option(min=1, max=500)] = 32,
    k: Annotated[int, typer.Option(min=1)] = 20,
    most: Annotated[float, typer.Option(min=1, help="Largest rate that is tried.")] = RATES[-1],
    processes: Annotated[int, typer.Option(min=1, max=64, help="That answer at the one port.")] = 1,
    reference: Annotated[bool, typer.Option(help="Time Keras too.")] = True,
    out: Annotated[Path | None, typer.Option(help="JSON of the figures.")] = None,
) -> None:
    """Make or find the release, serve it, drive it, and print the figures beside their aims."""
    subprocess.run([sys.executable, "-W", "ignore", "-m", "benchmarks.serving_world", str(home), str(items)],
                   check=True, stdout=subprocess.DEVNULL)
    found = measure(home.resolve(), items, rate, seconds, {"connections": connections, "k": k}, reference, most,
                    processes)
    typer.echo(report(found))
    if out is not None:
        out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
