"""The client against a real HTTP server that misbehaves."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from stack.airflow_client import AirflowClient
from stack.installation import StackError

ANSWERS: list[int] = []  # statuses of the next answers; 200 behind them
ASKED: list[str] = []


class Server(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self._answer(201, b'{"access_token": "t"}') if self.path == "/auth/token" else self.do_GET()

    def do_GET(self) -> None:
        ASKED.append(f"{self.command} {self.path}")
        self._answer(ANSWERS.pop(0) if ANSWERS else 200, b'{"state": "running"}')

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def client() -> Iterator[AirflowClient]:
    ANSWERS.clear()
    ASKED.clear()
    server = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield AirflowClient(f"http://127.0.0.1:{server.server_port}", "secret", 2.5)
    server.shutdown()
    server.server_close()


def test_a_busy_server_is_asked_again(client: AirflowClient) -> None:
    ANSWERS[:] = [500, 503]
    assert client.run_state("retrain", "r") == "running"
    assert len(ASKED) == 3


def test_a_server_that_stays_silent_is_an_error_that_says_where_to_look(client: AirflowClient) -> None:
    ANSWERS[:] = [500] * 50
    with pytest.raises(StackError, match=r"not answered /dags/retrain/dagRuns/r for 2\.5 s: HTTP Error 500.*logs/"):
        client.run_state("retrain", "r")
    assert "secret" not in str(ASKED)


def test_what_changes_something_is_sent_once(client: AirflowClient) -> None:
    ANSWERS[:] = [500]
    with pytest.raises(StackError, match="refused to start"):
        client.trigger("retrain", "r", {})
    assert len(ASKED) == 1
