"""The benchmark of serving: its client against servers made by hand, and the whole command on few items."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.serving import is_sustained, main
from benchmarks.serving_load import answer_in, drive, prepared
from benchmarks.serving_world import make_release


def test_an_answer_is_whole_when_its_length_has_come() -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nx-request-id: a\r\n\r\nbody"
    assert answer_in(whole) == (200, b"body")
    assert all(answer_in(whole[:end]) is None for end in range(len(whole)))
    assert answer_in(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n") == (503, b"")


def test_requests_name_a_shopper_an_item_and_their_length() -> None:
    first, second = prepared(8000, 10, 2, 7, seed=0)
    head, body = first.split(b"\r\n\r\n")
    question = json.loads(body)
    assert head.startswith(b"POST /v1/recommendations HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert question["k"] == 7 and question["user_id"].startswith("C-") and len(question["events"]) == 1
    assert first != second


@contextmanager
def answering(seconds: float, status: bytes, items: int) -> Iterator[int]:
    """The port of a server of one connection, which answers one request after the other, each after `seconds`."""
    body = b'{"item_id": 1}' * items
    answer = b"HTTP/1.1 %b x\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve() -> None:
            link, _ = server.accept()
            with link:
                while link.recv(1 << 16):
                    time.sleep(seconds)
                    link.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_latency_counts_from_when_a_request_should_have_left() -> None:
    with answering(0.05, b"200", 3) as port:
        found = drive(port, [b"GET / HTTP/1.1\r\n\r\n"], 100, 0.4, connections=1, k=3)
    # 40 requests come within about .4 s and take .05 s each, one after the other: the last waits for some 1.6 s.
    assert found["answered"] == 40 and not found["wrong"] and not found["unanswered"]
    assert found["p99_ms"] > 1000 and found["p50_ms"] > 400
    assert not is_sustained(found)


@pytest.mark.parametrize(("status", "items", "wrong"), [(b"503", 3, {"503": 5}), (b"200", 2, {"short": 5})])
def test_a_wrong_answer_is_counted_by_its_kind(status: bytes, items: int, wrong: dict[str, int]) -> None:
    with answering(0, status, items) as port:
        found = drive(port, [b"GET / HTTP/1.1\r\n\r\n"], 50, 0.1, connections=1, k=3)
    assert found["wrong"] == wrong and not is_sustained(found)


def test_the_command_measures_a_release_of_few_items(tmp_path: Path) -> None:
    app, out, home = typer.Typer(), tmp_path / "figures.json", tmp_path / "home"
    app.command()(main)
    answer = CliRunner().invoke(app, [
        "--home", str(home), "--items", "2000", "--rate", "20", "--seconds", "1", "--most", "100", "--connections", "4",
        "--k", "5", "--out", str(out)], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    found = json.loads(out.read_text())
    at = found["at_rate"]
    assert (at["answered"], at["wrong"], at["unanswered"]) == (20, {}, 0)
    assert 0 < at["p50_ms"] <= at["p99_ms"] and at["server_cpu_ms"] > 0
    assert [run["rate"] for run in found["rates"]] == [100]
    assert found["ready_s"] > 0 and found["memory_mb"]["server"] > 0
    assert found["over_keras"]["processor_time"] == pytest.approx(found["keras"]["cpu_ms"] / at["server_cpu_ms"])
    assert "Start to ready" in answer.output
    with pytest.raises(ValueError, match="2,000 items where 3,000 are asked for"):
        make_release(home, 3000)
