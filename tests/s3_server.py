"""An S3 on the loopback, without keys, in a process of its own: `python -m tests.s3_server PORT`."""

import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stack.rehearsal.bucket_server import objects, serve

# A canary: no message and no log may ever show it.
SECRET = "canary-kH7sWqz0-never-shown"


@dataclass(frozen=True)
class S3:
    """Where it listens."""

    endpoint: str

    @property
    def options(self) -> dict[str, str]:
        return {"endpoint": self.endpoint, "region": "us-east-1", "access_key_id": "vitrine-tests",
                "secret_access_key": SECRET}

    @property
    def environment(self) -> dict[str, str]:
        """The same for a process that reads its settings from the environment."""
        return {"AWS_ENDPOINT_URL": self.endpoint, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "vitrine-tests",
                "AWS_SECRET_ACCESS_KEY": SECRET}

    def new_store(self) -> str:
        """URL below a new, empty bucket."""
        bucket = f"vitrine-{uuid.uuid4().hex[:12]}"
        signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=vitrine-tests/20260101/us-east-1/s3/aws4_request, "
                                   "SignedHeaders=host, Signature=0"}
        with urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/{bucket}", method="PUT", headers=signed)):
            return f"s3://{bucket}/stores/shop"


@contextmanager
def running_s3() -> Iterator[S3]:
    """Start the server, wait until it answers, and end it afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "ignore", "-m", "tests.s3_server", str(port)]
    with subprocess.Popen(command, cwd=Path(__file__).resolve().parents[1], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as server:
        try:
            ends = time.monotonic() + 180
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=10):
                        break
                except OSError:
                    assert server.poll() is None and time.monotonic() < ends, "moto's server did not start"
                    time.sleep(0.1)
            yield S3(f"http://127.0.0.1:{port}")
        finally:
            server.kill()


if __name__ == "__main__":
    serve(objects(), int(sys.argv[1]))
