"""The embedded PostgreSQL where its data folder's path is too long for a Unix socket."""

import stat
from pathlib import Path

import psycopg2

from stack import postgres, services
from stack.installation import Installation


def test_a_deep_home_has_its_socket_elsewhere_and_for_nobody_else(tmp_path: Path) -> None:
    installation = Installation((tmp_path / "a-folder-of-thirty-characters-" / ("deep" * 15)).resolve())
    assert len(str(installation.postgres / ".s.PGSQL.5432")) > 107  # sun_path of unix(7): 108 bytes with its zero
    server, socket = None, None
    try:
        server, socket = postgres.start(installation)
        with psycopg2.connect(postgres.url(socket, "postgres")) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW unix_socket_directories")
            assert cursor.fetchone() == (str(socket),)
        connection.close()
        assert socket != installation.postgres
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700
    finally:
        services.stop(installation)
        if server is not None and socket is not None:
            server.wait(60)
            socket.rmdir()
