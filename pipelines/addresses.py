"""Addresses that may hold a password: how they are shown, and what is said about them."""

from urllib.parse import parse_qsl, unquote, urlsplit

_HIDDEN = "***"


def redacted(address: str) -> str:
    """`address` without password and query, for messages, logs and records; a path stays as it is."""
    if "://" not in address:
        return address
    url = urlsplit(address)
    user = f"{url.username}@" if url.username else ""
    return f"{url.scheme}://{user}{url.netloc.rpartition('@')[2]}{url.path}"


def scrubbed(said: str, address: str) -> str:
    """What a library said about `address`, without the address's secrets, however they are written."""
    if "://" not in address:
        return said
    url = urlsplit(address)
    secrets = {url.password or "", *(value for _, value in parse_qsl(url.query))}
    said = said.replace(address, redacted(address))
    for secret in sorted(secrets | {unquote(secret) for secret in secrets}, key=len, reverse=True):
        if secret:
            said = said.replace(secret, _HIDDEN)
    return said


def has_secrets(address: str) -> bool:
    """Whether showing `address` would show more than `redacted` does."""
    return redacted(address) != address
