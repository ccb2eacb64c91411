"""An open-loop HTTP client: requests leave at their times, whatever became of those before.

    python -m benchmarks.serving_load --port 8000 --rate 1000 --seconds 10

Arrivals are a Poisson process. A request whose time has come while all connections wait is late, and its latency is
counted from when it should have left: a slow server cannot slow down its own measurement (coordinated omission). One
thread, one `select`, bytes prepared before the first request leaves, so that the client costs a fraction of a core.
"""

import json
import select
import socket
from collections import deque
from collections.abc import Sequence
from time import perf_counter, process_time
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.serving_world import USERS, item_id, user_id

_RECEIVED = 1 << 16
_DRAIN_S = 5.0  # how long answers are waited for after the last request's time


def prepared(port: int, items: int, requests: int, k: int, seed: int) -> list[bytes]:
    """Requests for recommendations to shoppers with a stored history, each with one event of this moment."""
    rng = np.random.default_rng(seed)
    made = []
    for shopper, row in zip(rng.integers(USERS, size=requests), rng.integers(items, size=requests), strict=True):
        body = json.dumps({"user_id": user_id(int(shopper)), "k": k,
                           "events": [{"item_id": item_id(int(row)), "event_type": "view"}]}).encode()
        made.append(b"POST /v1/recommendations HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%b" % (port, len(body), body))
    return made


def answer_in(received: bytes) -> tuple[int, bytes] | None:
    """Status and body of a whole answer; None while some of it is missing."""
    head, found, body = received.partition(b"\r\n\r\n")
    if not found:
        return None
    lower = head.lower()
    at = lower.find(b"content-length:")
    length = int(lower[at + 15 :].split(b"\r\n", 1)[0])
    return (int(head[9:12]), body) if len(body) >= length else None


def drive(port: int, requests: Sequence[bytes], rate: float, seconds: float, connections: int, k: int,
          seed: int = 0) -> dict[str, Any]:
    """Send at `rate` a second for `seconds` and say what came back.

    Args:
        port: on the loopback.
        requests: sent in turn.
        rate: requests a second, on average.
        seconds: for which requests leave.
        connections: kept open; so many requests can be on their way.
        k: items that a right answer holds.
        seed: of the arrivals.
    """
    count = max(1, int(rate * seconds))
    due = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count)).tolist()
    links = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    for link in links:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.setblocking(False)
    free, at = deque(links), dict[socket.socket, float]()
    buffers = {link: b"" for link in links}
    latencies: list[float] = []
    wrong, sent, worked, began = dict[str, int](), 0, process_time(), perf_counter()
    wanted = b'"item_id":'
    while (sent < count or at) and perf_counter() - began < due[-1] + _DRAIN_S:
        now = perf_counter() - began
        while sent < count and free and due[sent] <= now:
            link = free.popleft()
            link.send(requests[sent % len(requests)])
            at[link] = due[sent]
            sent += 1
        wait = max(0.0, due[sent] - (perf_counter() - began)) if sent < count and free else 1.0
        ready, _, _ = select.select(list(at), [], [], wait)
        for link in ready:
            buffers[link] += link.recv(_RECEIVED)
            answer = answer_in(buffers[link])
            if answer is None:
                continue
            latencies.append(perf_counter() - began - at.pop(link))
            buffers[link] = b""
            free.append(link)
            status, body = answer
            if status != 200 or body.count(wanted) != k:
                kind = str(status) if status != 200 else "short"
                wrong[kind] = wrong.get(kind, 0) + 1
    elapsed, worked = perf_counter() - began, process_time() - worked
    for link in links:
        link.close()
    spread = 1000 * np.quantile(latencies, [0.5, 0.9, 0.99, 0.999]) if latencies else np.full(4, np.inf)
    return {"rate": rate, "sent": sent, "answered": len(latencies), "answered_per_s": len(latencies) / elapsed,
            "wrong": wrong, "unanswered": count - len(latencies), "client_core_share": worked / elapsed,
            **{f"p{name}_ms": float(value) for name, value in zip(("50", "90", "99", "999"), spread, strict=True)}}


def main(
    port: Annotated[int, typer.Option(min=1, max=65_535)],
    items: Annotated[int, typer.Option(min=1)],
    rate: Annotated[float, typer.Option(min=1)] = 1000,
    seconds: Annotated[float, typer.Option(min=0.1)] = 10,
    connections: Annotated[int, typer.Option(min=1, max=500)] = 32,
    k: Annotated[int, typer.Option(min=1)] = 20,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Drive a server of benchmarks/serving_world.py and print what came back, as JSON."""
    requests = prepared(port, items, 5000, k, seed)
    print(json.dumps(drive(port, requests, rate, seconds, connections, k, seed)))


if __name__ == "__main__":
    typer.run(main)
