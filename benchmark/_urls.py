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
    rest, asked, _ = rest.partition("?")
    # A password may hold a slash that nobody escaped; where there is no host there is no password.
    user, _, place = ("", "", rest) if rest.startswith("/") else rest.rpartition("@")
    return f"{head}://{'***@' if user else ''}{place}{'?***' if asked else ''}"


def hidden(text: str, url: str) -> str:
    """Return what somebody else says of an address without the secrets in that."""
    parts = urlsplit(url)
    user, _, _ = parts.netloc.rpartition("@")
    values = [value for _, value in parse_qsl(parts.query)]
    secrets = (url, f"{user}@", f"?{parts.query}", parts.query, parts.password, unquote(parts.password or ""), *values)
    for secret in secrets:
        text = text.replace(secret, "") if secret and secret not in "@?" else text
    return text


def check(url: str) -> None:
    """Refuse an address that others would take apart in another place, and then tell half a password.

    Raises:
        UserError: there is more than one @ before the host.
    """
    if urlsplit(url).netloc.count("@") > 1:
        raise UserError("write an @ in the user or password of an address as %40")


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
