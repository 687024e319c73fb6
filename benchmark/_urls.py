"""Addresses of services: whether they answer, and how to show them without users, passwords and tokens."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing
from urllib.parse import parse_qsl, unquote, urlsplit

from benchmark.api import UserError

PATIENCE = 5  # seconds for an answer
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def shown(text: str) -> str:
    """Return an address, or any other word of a command line, without user, password and query."""
    head, mark, rest = text.partition("://")
    if not mark:
        return text
    user, place = _parted(rest)
    if "=" in user.partition("?")[2]:  # or is that a query with an @ in it?
        return f"{head}://***"
    place, asked, _ = place.partition("?")
    return f"{head}://{'***@' if user else ''}{place}{'?***' if asked else ''}"


def _parted(rest: str) -> tuple[str, str]:
    """Return user and password, "" where there are none, and what follows of an address without its scheme.

    A password may hold what nobody escaped, so it ends at the last @; where there is no host there is no password.
    """
    user, _, place = ("", "", rest) if rest.startswith("/") else rest.rpartition("@")
    return user, place


def hidden(text: str, url: str) -> str:
    """Return what somebody else says of an address without the secrets in that."""
    user, _ = _parted(url.partition("://")[2])
    password, query = user.partition(":")[2], url.partition("?")[2]
    values = [value for _, value in parse_qsl(query)]
    secrets = (url, f"{user}@", f"?{query}", query, password, unquote(password), *values)
    for secret in secrets:
        text = text.replace(secret, "") if secret and secret not in "@?" else text
    return text


def check(url: str) -> None:
    """Refuse an address that others would take apart in another place, and then tell half a password.

    Raises:
        UserError: there is a / ? # or @ before the last @.
    """
    user, _ = _parted(url.partition("://")[2])
    if set(user) & set("/?#@"):
        raise UserError(
            "write / ? # @ in the user or password of an address as %2F %3F %23 %40, and an @ behind its host as %40"
        )


def reach(url: str) -> None:
    """Raise at once where a database or server is out of reach: others try again for minutes.

    Raises:
        OSError, sqlite3.Error: there is nobody, or no such file.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        with closing(sqlite3.connect(url.removeprefix("sqlite:///").split("?")[0])) as store:
            store.execute("pragma schema_version")
    elif parts.scheme in ("http", "https"):
        import requests

        requests.head(url, timeout=PATIENCE)  # any answer will do; proxies are honoured
    elif parts.hostname and (kind := parts.scheme.split("+")[0]) in PORTS:
        socket.create_connection((parts.hostname, parts.port or PORTS[kind]), timeout=PATIENCE).close()
