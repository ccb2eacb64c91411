"""A real PostgreSQL for tests, below a folder of its own and on a Unix socket alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2

from stack import postgres, services
from stack.installation import Installation


@contextmanager
def running_postgres(folder: Path, database: str) -> Iterator[Path]:
    """Folder of the socket of a server with an empty database; the server ends with the block."""
    installation = Installation(folder.resolve())
    process = None
    try:
        process, socket = postgres.start(installation)
        postgres.ensure_database(socket, database)
        yield socket
    finally:
        services.stop(installation)
        if process is not None:
            process.wait()


def execute(socket: Path, database: str, *statements: str) -> None:
    """Run statements, one after the other, each on its own."""
    connection = psycopg2.connect(postgres.url(socket, database))
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        connection.close()
