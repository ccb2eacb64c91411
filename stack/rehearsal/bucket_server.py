"""An S3 on the loopback that stands for SeaweedFS's, started by its words: `weed server -s3.port=N -s3.config=FILE`.

The objects are moto's, in memory. Two things are as they are there: put-if-absent is one step, and a key may do what
the identities of -s3.config say and nothing more. Signatures are not checked: who knows a key's name has it.
"""

import fnmatch
import io
import json
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import unescape

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def objects() -> Application:
    """moto's S3, one request after another.

    moto looks whether an object is there and then writes it, in threads; a real S3 does both in one step.
    """
    from moto.server import DomainDispatcherApplication, create_backend_app

    app = DomainDispatcherApplication(create_backend_app)
    lock = threading.Lock()

    def answer(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        # The body first: a client that stops in the midst of an upload must not stop the others.
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
        with lock:
            return list(app(environ, start_response))

    return answer


def guarded(app: Application, identities: Sequence[Mapping[str, Any]]) -> Application:
    """The application behind keys; /healthz needs none.

    Args:
        app: answers what is allowed.
        identities: as SeaweedFS's -s3.config has them: name, actions such as "Write:bucket/prefix/*", credentials.
    """
    actions = {key["accessKey"]: one["actions"] for one in identities for key in one["credentials"]}

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/healthz":
            start_response("200 OK", [("Content-Length", "0")])
            return []
        credential = re.search(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        allowed = actions.get(credential[1], ()) if credential else ()
        if all(_allows(allowed, asked) for asked in _asked(environ)):
            return app(environ, start_response)
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        start_response("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]

    return answer


def _asked(environ: dict[str, Any]) -> list[str]:
    """What a request needs, as actions on a bucket or an object."""
    bucket, _, key = environ["PATH_INFO"].strip("/").partition("/")  # WSGI has unquoted it
    if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
        return [f"Read:{bucket}/{key}" if key else f"List:{bucket}"]
    if not key and environ["REQUEST_METHOD"] == "POST" and "delete" in environ.get("QUERY_STRING", ""):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        keys = map(unescape, re.findall("<Key>(.*?)</Key>", body.decode()))
        return [f"Write:{bucket}/{one}" for one in keys] or ["Admin"]
    return [f"Write:{bucket}/{key}"] if key else ["Admin"]  # buckets are made by an administrator


def _allows(actions: Iterable[str], asked: str) -> bool:
    """Whether one of the actions covers what is asked; one that names a bucket alone covers all of it."""
    whole = asked.partition("/")[0]
    return any(action in ("Admin", asked, whole) or fnmatch.fnmatchcase(asked, action) for action in actions)


def serve(app: Application, port: int) -> None:
    """Answer on a port of the loopback interface until killed."""
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", port, app, threaded=True)


def main(words: Sequence[str]) -> None:
    """Take the place of `weed`."""
    options = dict(word.removeprefix("-").partition("=")[::2] for word in words if word.startswith("-"))
    identities = json.loads(Path(options["s3.config"]).read_text(encoding="utf-8"))["identities"]
    serve(guarded(objects(), identities), int(options["s3.port"]))


if __name__ == "__main__":
    main(sys.argv[1:])
