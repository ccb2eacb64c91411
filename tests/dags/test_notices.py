"""Notices of failures, sent to real servers; the sender runs in a process of its own, as a task does."""

import json
import os
import socketserver
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.served import answering

TOKEN = "canary-4Tq9-never-shown"
SEND = """
import io, json, logging, os, sys
from datetime import UTC, datetime
from types import SimpleNamespace
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from plugins.notices import Notice

said = {}
run = SimpleNamespace(data_interval_end=datetime(2026, 11, 2, tzinfo=UTC), triggering_user_name="ada")
failure = AirflowFailException("DataError: events lacks user_id; map it")
skip = AirflowSkipException("the gate refused the challenger")
for name, (what, connection) in json.loads(sys.argv[1]).items():
    heard = io.StringIO()
    logging.basicConfig(level=logging.DEBUG, force=True, stream=heard)
    if connection:
        os.environ |= {"VITRINE_NOTICES": "people", "AIRFLOW_CONN_PEOPLE": json.dumps(connection)}
    else:
        del os.environ["VITRINE_NOTICES"]
    ti = SimpleNamespace(dag_id="retrain", run_id="r1", task_id="promote" if what == "skipped" else "ingest",
                         try_number=2, log_url="http://airflow/log")
    if what == "killed":  # the DAG processor, which calls for a task that was killed, knows little
        Notice()({"ti": ti})
    elif what == "waiting":
        Notice("May it?")({"ti": ti, "dag_run": run})
    else:
        Notice()({"ti": ti, "dag_run": run, "params": {"as_of": None},
                         "exception": skip if what == "skipped" else failure})
    said[name] = heard.getvalue()
print(json.dumps(said))
"""


class Web(HTTPServer):
    """Keeps what is posted to it."""

    def __init__(self, status: int = 200) -> None:
        self.status, self.posted = status, list[tuple[str, str | None, Any]]()
        super().__init__(("127.0.0.1", 0), Hook)


class Hook(BaseHTTPRequestHandler):
    """One request to a Web."""

    server: Web

    def do_POST(self) -> None:
        """Keep path, key and document."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posted.append((self.path, self.headers["Authorization"], body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Post(socketserver.TCPServer):
    """A mail server that takes all."""

    def __init__(self) -> None:
        self.mails = list[str]()
        super().__init__(("127.0.0.1", 0), Letter)


class Letter(socketserver.StreamRequestHandler):
    """One conversation with a Post, by RFC 5321."""

    server: Post

    def handle(self) -> None:
        """Agree to everything until QUIT."""
        self.wfile.write(b"220 post\r\n")
        while (line := self.rfile.readline()) and not line.upper().startswith(b"QUIT"):
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.mails.append(b"".join(lines).decode())
            self.wfile.write(b"250 so be it\r\n")
        self.wfile.write(b"221 goodbye\r\n")


@pytest.fixture(scope="module")
def told(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the servers got, and what each case said in the log."""
    with answering(Web()) as web, answering(Web(status=403)) as closed, answering(Post()) as post:
        hook, no = (f"http://127.0.0.1:{server.server_address[1]}/{TOKEN}" for server in (web, closed))
        slack = {"conn_type": "slackwebhook"}
        cases = {
            "document": ("failed", {
                "conn_type": "http", "schema": "http", "host": "127.0.0.1", "port": web.server_address[1],
                "extra": {"path": "/hook", "headers": {"Authorization": f"Bearer {TOKEN}"}}}),
            "skipped": ("skipped", slack | {"password": hook}),
            "killed": ("killed", slack | {"host": hook.rpartition("/")[0], "password": TOKEN}),
            "waiting": ("waiting", slack | {"password": hook}),
            "mail": ("failed", {"conn_type": "smtp", "host": "127.0.0.1", "port": post.server_address[1],
                                "extra": {"from": "vitrine@example.com", "to": ["a@example.com", "b@example.com"]}}),
            "kind": ("failed", {"conn_type": "ftp", "password": TOKEN}),
            "nobody": ("failed", {"conn_type": "smtp", "host": "127.0.0.1", "password": TOKEN}),
            "away": ("failed", slack | {"password": f"http://127.0.0.1:1/{TOKEN}"}),
            "file": ("failed", slack | {"host": "file:///etc", "password": TOKEN}),
            "refused": ("failed", slack | {"password": no}),
            "unasked": ("failed", None),
        }
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "VITRINE"))}
        environment |= {"AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")), "PYTHONPATH": str(repository)}
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", SEND, json.dumps(cases)], cwd=repository,
                              env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    return {"posted": web.posted, "mails": post.mails, "said": json.loads(done.stdout.splitlines()[-1])}


def test_a_webhook_gets_the_document_with_its_key(told: dict[str, Any]) -> None:
    assert told["posted"][0] == ("/hook", f"Bearer {TOKEN}", {
        "dag": "retrain", "run": "r1", "task": "ingest", "try": 2, "state": "failed",
        "window": "2026-11-02 00:00:00+00:00", "actor": "ada", "log": "http://airflow/log",
        "cause": "AirflowFailException: DataError: events lacks user_id; map it"})


@pytest.mark.parametrize(("place", "subject", "cause"), [
    (1, "retrain: promote skipped", "AirflowSkipException: the gate refused the challenger"),
    (2, "retrain: ingest failed", "it was ended"), (3, "retrain: ingest waiting", "May it?")])
def test_slack_gets_lines(told: dict[str, Any], place: int, subject: str, cause: str) -> None:
    path, _, document = told["posted"][place]
    assert path == f"/{TOKEN}"
    lines = document["text"].splitlines()
    assert (lines[0], lines[-1]) == (subject, cause)


def test_mail_has_a_subject_and_the_cause(told: dict[str, Any]) -> None:
    [mail] = told["mails"]
    assert "Subject: retrain: ingest failed\r\n" in mail and "To: a@example.com, b@example.com\r\n" in mail
    assert "events lacks user_id; map it" in mail and "window: 2026-11-02" in mail


@pytest.mark.parametrize(("case", "said"), [
    ("kind", "it is of type ftp: notices go by slackwebhook, smtp, http"),
    ("nobody", "needs a host and, in its extra"), ("away", "was not sent: URLError"),
    ("file", "is none of http:// or https://"), ("refused", "was not sent: HTTPError 403")])
def test_what_cannot_be_sent_is_a_warning(told: dict[str, Any], case: str, said: str) -> None:
    assert said in told["said"][case]


def test_what_was_sent_or_not_asked_for_says_nothing(told: dict[str, Any]) -> None:
    assert [told["said"][case] for case in ("document", "skipped", "killed", "waiting", "mail", "unasked")] == [""] * 6


def test_all_tasks_of_all_dags_give_notice(bag: dict[str, Any]) -> None:
    silent = [(name, task) for name, dag in bag["dags"].items() for task, it in dag["tasks"].items()
              if it["notices"] != ["Notice", "Notice"]]
    assert silent == []
