"""The composition's PostgreSQL: the server of the wheel, prepared as the official image prepares its own.

With an empty data folder the image makes POSTGRES_USER with POSTGRES_PASSWORD and POSTGRES_DB, runs what is mounted
below /docker-entrypoint-initdb.d, and lets nobody in over the network without a password.
"""

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg2

from stack import postgres
from stack.installation import Installation, StackError
from stack.processes import last_lines, spawn
from stack.rehearsal.composition import Service

INIT = "/docker-entrypoint-initdb.d/"
ACCESS = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
PATIENCE_S = 60.0


def start(service: Service, port: int, environment: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    """Start the server and make what the image would make.

    Args:
        service: postgres, as the composition has it.
        port: of the loopback interface.
        environment: of the process.
        log: what the server says.

    Raises:
        StackError: it accepts no connections.
    """
    installation = Installation(service.mounts["/var/lib/postgresql/data"])
    data = installation.postgres
    is_new = not (data / "PG_VERSION").exists()
    server, socket = postgres.place(installation)
    (data / "pg_hba.conf").write_text(ACCESS, encoding="utf-8")
    options = [part for setting in (*postgres.TUNING, "max_connections=100") for part in ("-c", setting)]
    command = [server.bin_path / "postgres", "-D", data, "-k", socket, "-h", "127.0.0.1", "-p", str(port), *options]
    process = spawn(command, environment, log, user=server.system_user)
    connection = _connection(socket, port, process, log)
    try:
        if is_new:
            _prepare(connection, service)
    finally:
        connection.close()
    return process


def _connection(socket: Path, port: int, process: "subprocess.Popen[bytes]",
                log: Path) -> "psycopg2.extensions.connection":
    ends = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection = psycopg2.connect(host=str(socket), port=port, user="postgres", dbname="postgres")
            connection.autocommit = True  # CREATE DATABASE refuses to run in a transaction
            return connection
        except psycopg2.OperationalError as error:
            if process.poll() is not None or time.monotonic() > ends:
                raise StackError(f"postgres accepts no connections: {error}; {log} ends with:\n"
                                 f"{last_lines(log)}") from error
            time.sleep(0.2)


def _prepare(connection: "psycopg2.extensions.connection", service: Service) -> None:
    told = service.environment
    user, database = told["POSTGRES_USER"], told["POSTGRES_DB"]
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE ROLE "{user}" SUPERUSER LOGIN PASSWORD %s', (told["POSTGRES_PASSWORD"],))
        cursor.execute(f'CREATE DATABASE "{database}" OWNER "{user}"')
        for target, path in sorted(service.mounts.items()):
            if target.startswith(INIT):
                cursor.execute(path.read_text(encoding="utf-8"))
