"""The session store that a setting names."""

from pathlib import Path

from pipelines.errors import SettingsError
from serving.sessions.contract import SessionLimits, SessionStore
from serving.sessions.sqlite import SqliteSessions


def open_sessions(place: str, limits: SessionLimits | None = None, prefix: str = "vitrine") -> SessionStore:
    """Open the store: `redis://`, `rediss://` or `unix://` for Redis, else the path of a SQLite file.

    Args:
        place: URL or path; a URL may hold a password, so that it is never shown.
        limits: what is kept.
        prefix: of Redis's keys, one a shop.

    Raises:
        SettingsError: the URL is of another kind.
        SessionsUnavailable: the SQLite file cannot be opened. Redis may be down at first.
    """
    scheme, has_scheme, _ = place.partition("://")
    if not has_scheme:
        return SqliteSessions(Path(place), limits)
    if scheme not in ("redis", "rediss", "unix"):
        raise SettingsError(f"the session store is a {scheme} URL: give redis://, rediss:// or unix://, or the path of "
                            "a file for SQLite")
    from serving.sessions.redis import RedisSessions

    return RedisSessions(place, limits, prefix)
