"""What tests of real servers have in common, our own and those that we speak to."""

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx

Server = TypeVar("Server", bound=socketserver.BaseServer)


def free_port() -> int:
    """A port of the loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_ready(port: int) -> bool:
    """Whether our online process at this port says that it can answer."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Return as soon as a condition holds.

    Raises:
        AssertionError: it does not within `seconds`.
    """
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, f"did not come true within {seconds:g} s"
        time.sleep(0.05)


@contextmanager
def answering(server: Server) -> Iterator[Server]:
    """A server that answers in a thread beside, for as long as somebody needs it."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
