"""Those who use a serving process for a long time: shoppers, the shop's site, and clients that dawdle.

The shop is that of tests/live_world.py: user u has bought items g, g + 4 and g + 8 of group g = u % 4, and brings along
that item g + 12 was bought just now. With all four events known the answer is g + 16, g + 20, g + 24, with scores

    8 + (40 - i) / 1000 + 10 n

of bundle n; while the session store is away it is g, g + 4, g + 8 with 2 in place of 8, and says so.
"""

import contextlib
import http.client
import json
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Self

from serving.shoppers import NO_SESSIONS
from tests.release_world import GROUPS, ITEMS

BOUGHT = (0, 4, 8)  # of a group, in days before
BROUGHT = 12
BRINGERS = 100  # users whose events are brought in turn
_PAUSE_S = 0.004  # between two questions of a shopper


def item(row: int) -> str:
    """Id of an item."""
    return f"i{row:02d}"


@dataclass
class Log:
    """What one of the threads has seen."""

    right: int = 0
    without_history: int = 0
    shed: int = 0  # told to come back: 503 with Retry-After
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class Client:
    """One connection to the process at a port, opened anew where it was lost; a context."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._link: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._link is not None:
            self._link.close()

    def post(self, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        """Status and document of an answer.

        Raises:
            OSError, HTTPException: there is none.
        """
        link = self._link or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        self._link = None
        try:
            link.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = link.getresponse()
            document = json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            link.close()
            raise
        self._link = link  # which opens itself again where the process has closed it
        if answer.status == 503 and "Retry-After" not in answer.headers:
            raise OSError(f"503 without Retry-After: {document}")
        return answer.status, document


def fault_of(answer: dict[str, Any], group: int, bundles: dict[int, int]) -> str | None:
    """What is wrong with an answer to a user of `group`, or nothing.

    Args:
        answer: of POST /v1/recommendations.
        group: of the user.
        bundles: release -> number of its bundle.
    """
    is_alone = NO_SESSIONS in answer["notices"]
    rows = [group + step for step in (BOUGHT if is_alone else (16, 20, 24))]
    if [found["item_id"] for found in answer["items"]] != [item(row) for row in rows]:
        return f"{answer['items']} where items {rows} are right"
    taste = 2 * answer["known_events"]
    if answer["known_events"] != (1 if is_alone else 4):
        return f"{answer['known_events']} events are known"
    for row, found in zip(rows, answer["items"], strict=True):
        right = taste + (ITEMS - row) / 1000 + 10 * bundles[answer["release"]]
        if abs(found["score"] - right) > 1e-4:
            return f"release {answer['release']} gives item {row} {found['score']}, {right} is right"
    return None


def shop(port: int, user: int, bundles: dict[int, int], log: Log, done: threading.Event) -> None:
    """Ask again and again as one shopper, and look at each answer."""
    question = {"user_id": f"u{user:02d}", "k": 3,
                "events": [{"item_id": item(user % GROUPS + BROUGHT), "event_type": "purchase"}]}
    with Client(port) as client:
        _shop(client, question, user % GROUPS, bundles, log, done)


def _shop(client: Client, question: Any, group: int, bundles: dict[int, int], log: Log, done: threading.Event) -> None:
    last = 0
    while not done.wait(_PAUSE_S):
        began = time.perf_counter()
        try:
            status, answer = client.post("/v1/recommendations", question)
        except (OSError, http.client.HTTPException) as error:
            log.wrong.append(f"{type(error).__name__}: {error}")
            continue
        log.seconds.append(time.perf_counter() - began)
        if status == 503:
            log.shed += 1
            continue
        fault = f"status {status}: {answer}" if status != 200 else fault_of(answer, group, bundles)
        if fault is None and answer["release"] < last:
            fault = f"release {answer['release']} after {last}"
        if fault is not None:
            log.wrong.append(fault)
            continue
        last = answer["release"]
        log.right += 1
        log.without_history += answer["known_events"] == 1


def bring(port: int, log: Log, done: threading.Event) -> None:
    """Bring events, each until it is acknowledged, and each second one twice."""
    with Client(port) as client:
        _bring(client, log, done)


def _bring(client: Client, log: Log, done: threading.Event) -> None:
    number = 0
    while not done.is_set():
        event = {"event_id": f"e{number}", "user_id": f"v{number % BRINGERS}", "item_id": item(number % ITEMS),
                 "event_type": "purchase"}
        try:
            for _ in range(1 + number % 2):
                began = time.perf_counter()
                status, answer = client.post("/v1/events", {"events": [event]})
                log.seconds.append(time.perf_counter() - began)
                if status != 200:
                    break
        except (OSError, http.client.HTTPException) as error:
            log.wrong.append(f"{type(error).__name__}: {error}")
            continue
        if status == 200:
            log.right, number = log.right + 1, number + 1
        elif status == 503:
            log.shed += 1
        else:
            log.wrong.append(f"status {status}: {answer}")
        done.wait(0.02)


def dawdle(port: int, log: Log, done: threading.Event) -> None:
    """Be a bad client by turns: send a body by the byte, ask and read nothing, hang up in the midst of a body."""
    body = json.dumps({"k": 3}).encode()
    head = (b"POST /v1/recommendations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body))
    while not done.is_set():
        for way in ("by the byte", "reads nothing", "hangs up"):
            # That the process ends the connection first is what it should do.
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=30) as link:
                if way == "reads nothing":
                    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                    link.sendall(50 * (head + body))
                    done.wait(0.5)
                elif way == "hangs up":
                    link.sendall(head + body[: len(body) // 2])
                else:
                    link.sendall(head)
                    for place in range(len(body) - 1):
                        link.sendall(body[place : place + 1])
                        if done.wait(1):
                            return
            log.right += 1
