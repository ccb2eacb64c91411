"""Word of a task that failed for good, that the gate ended, or that waits for an answer, to where people look.

VITRINE_NOTICES names an Airflow connection, whose type says how:

- `slackwebhook`: the incoming webhook in the connection's password, or host and password, as Slack's provider has it;
- `smtp`: an e-mail by host, port, login and password, from and to the addresses `from` and `to` of its extra;
- `http`: a POST of a JSON document to host, port and schema (http or https), path and headers from the extra
  (`{"path": "/hook", "headers": {"Authorization": "Bearer ..."}}`).

A notice that cannot be sent is a warning in the task's log: it must not make a failure look like another.
"""

import json
import logging
import smtplib
import ssl
import urllib.request
from collections.abc import Mapping
from email.message import EmailMessage
from typing import Any

from airflow.sdk import BaseNotifier, Connection, Context

from pipelines.errors import SettingsError
from pipelines.settings import load_settings

TIMEOUT_S = 10.0
KINDS = ("slackwebhook", "smtp", "http")
_LONGEST = 2000  # characters of a cause

log = logging.getLogger("vitrine")


class Notice(BaseNotifier):
    """Sends what failed, of which window, why and where the log is; nothing where VITRINE_NOTICES is not set.

    Args:
        question: what the task waits for, where it did not fail.
    """

    def __init__(self, question: str = "") -> None:
        super().__init__()
        self.question = question

    def notify(self, context: Context) -> None:
        """Send the notice; never raises."""
        name = load_settings().notices
        if name is None:
            return
        try:
            send(Connection.get(name), notice_of(context, self.question))
        except Exception as error:  # whatever a connection holds, a server says or a socket does
            log.warning("the notice through connection %s was not sent: %s", name, _said(error))


def notice_of(context: Context, question: str = "") -> dict[str, Any]:
    """What there is to say of a task that ended, or that waits for the answer to `question`.

    Returns:
        dag, run, task, try, state (failed, skipped by the gate, or waiting), window (end of the data, where it is
        known), actor, cause (the error and its remedy, or the question) and log (address of the task's page).
    """
    ti, run, form = context["ti"], context.get("dag_run"), context.get("params") or {}
    cause = context.get("exception")
    said = f"{type(cause).__name__}: {cause}" if isinstance(cause, BaseException) else str(cause or "it was ended")
    state = "skipped" if type(cause).__name__ == "AirflowSkipException" else "failed"
    window = form.get("as_of") or form.get("day") or (run and run.data_interval_end)
    return {
        "dag": ti.dag_id, "run": ti.run_id, "task": ti.task_id, "try": ti.try_number,
        "state": "waiting" if question else state,
        "window": str(window) if window else None,
        "actor": getattr(run, "triggering_user_name", None), "cause": (question or said)[:_LONGEST],
        "log": getattr(ti, "log_url", None),
    }


def text_of(notice: Mapping[str, Any]) -> str:
    """A notice for people, its first line as a subject."""
    lines = [f"{notice['dag']}: {notice['task']} {notice['state']}"]
    known = [name for name in ("window", "run", "try", "actor", "log") if notice[name] is not None]
    lines += [f"{name}: {notice[name]}" for name in known]
    return "\n".join([*lines, "", str(notice["cause"])])


def send(connection: Connection, notice: Mapping[str, Any]) -> None:
    """Send a notice the way that the connection's type says.

    Raises:
        SettingsError: the connection is of another type, or lacks what its type needs.
        OSError: nobody answers, or not as it should be.
    """
    extra = connection.extra_dejson
    if connection.conn_type == "smtp":
        _mail(connection, extra, text_of(notice))
    elif connection.conn_type == "slackwebhook":
        password = connection.password or ""
        address = password if password.startswith("http") else f"{connection.host}/{password}"
        _post(address, {"text": text_of(notice)}, {})
    elif connection.conn_type == "http":
        port = f":{connection.port}" if connection.port else ""
        path = str(extra.get("path", "/")).lstrip("/")
        _post(f"{connection.schema or 'https'}://{connection.host}{port}/{path}", notice, extra.get("headers", {}))
    else:
        raise SettingsError(f"it is of type {connection.conn_type}: notices go by {', '.join(KINDS)}")


def _post(address: str, document: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    if not address.startswith(("http://", "https://")):
        raise SettingsError("its address is none of http:// or https://")
    request = urllib.request.Request(address, json.dumps(document).encode(),
                                     {"Content-Type": "application/json", **headers})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S):
        pass


def _mail(connection: Connection, extra: Mapping[str, Any], text: str) -> None:
    sender, to = extra.get("from"), extra.get("to")
    if not (connection.host and sender and to):
        raise SettingsError('an smtp connection needs a host and, in its extra, {"from": "...", "to": ["..."]}')
    message = EmailMessage()
    message["Subject"], _, body = text.partition("\n")
    message["From"], message["To"] = sender, ", ".join([to] if isinstance(to, str) else to)
    message.set_content(body)
    with smtplib.SMTP(connection.host, connection.port or 587, timeout=TIMEOUT_S) as server:
        if connection.login:  # a password goes over an encrypted connection or not at all
            server.starttls(context=ssl.create_default_context())
            server.login(connection.login, connection.password or "")
        server.send_message(message)


def _said(error: Exception) -> str:
    """An error without the address that it may name, which is a secret of some services."""
    return str(error) if isinstance(error, SettingsError) else f"{type(error).__name__} {getattr(error, 'code', '')}"
