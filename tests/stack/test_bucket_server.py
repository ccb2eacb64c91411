"""The store of a rehearsal lets each key do what the composition's identities say."""

import io
from typing import Any

import pytest

from stack.rehearsal.bucket_server import guarded

IDENTITIES = [
    {"name": "admin", "actions": ["Admin"], "credentials": [{"accessKey": "root", "secretKey": "x"}]},
    {"name": "tasks", "actions": ["Read:shop", "List:shop", "Write:shop"],
     "credentials": [{"accessKey": "tasks", "secretKey": "x"}]},
    {"name": "api", "actions": ["Read:shop", "List:shop", "Write:shop/toy/leases/*"],
     "credentials": [{"accessKey": "api", "secretKey": "x"}]},
]
BATCH = b"<Delete><Object><Key>toy/leases/a</Key></Object><Object><Key>toy/releases/b</Key></Object></Delete>"


def status(key: str, method: str, path: str, query: str = "", body: bytes = b"") -> int:
    """200 where the server behind was asked, which then reads the whole body."""
    answered: list[str] = []

    def behind(environ: dict[str, Any], start: Any) -> list[bytes]:
        assert environ["wsgi.input"].read() == body
        start("200 OK", [])
        return []

    environ = {"PATH_INFO": path, "REQUEST_METHOD": method, "QUERY_STRING": query, "CONTENT_LENGTH": str(len(body)),
               "wsgi.input": io.BytesIO(body)}
    if key:
        environ["HTTP_AUTHORIZATION"] = f"AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/s3/aws4_request, ..."
    list(guarded(behind, IDENTITIES)(environ, lambda line, _: answered.append(line)))
    return int(answered[0].split()[0])


@pytest.mark.parametrize(("key", "method", "path", "expected"), [
    ("api", "GET", "/shop/toy/releases/1", 200), ("api", "HEAD", "/shop/toy/releases/1", 200),
    ("api", "GET", "/shop", 200), ("api", "PUT", "/shop/toy/leases/d/1", 200),
    ("api", "DELETE", "/shop/toy/leases/d/1", 200), ("api", "PUT", "/shop/toy/releases/1", 403),
    ("api", "DELETE", "/shop/toy/releases/1", 403), ("api", "PUT", "/shop/toy/leases-of-mine", 403),
    ("api", "GET", "/mlflow/a", 403), ("api", "GET", "/mlflow", 403), ("api", "GET", "/shop-2/a", 403),
    ("api", "PUT", "/shop", 403), ("tasks", "PUT", "/shop/toy/releases/1", 200), ("tasks", "PUT", "/shop-2/a", 403),
    ("tasks", "PUT", "/other", 403), ("tasks", "GET", "/", 403), ("root", "PUT", "/other", 200),
    ("root", "GET", "/", 200), ("", "GET", "/shop/toy/releases/1", 403), ("stranger", "GET", "/shop", 403),
    ("", "GET", "/healthz", 200),
])
def test_a_key_may_what_its_actions_say(key: str, method: str, path: str, expected: int) -> None:
    assert status(key, method, path) == expected


def test_of_a_batch_every_key_is_looked_at() -> None:
    assert status("api", "POST", "/shop", "delete", BATCH) == 403
    assert status("api", "POST", "/shop", "delete", BATCH.replace(b"releases", b"leases")) == 200
    assert status("tasks", "POST", "/shop", "delete", BATCH) == 200
