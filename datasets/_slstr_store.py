"""The EUMETSAT Data Store through eumdac: credentials, search, and the bytes of one file of a product.

Credentials are a consumer key and secret (https://api.eumetsat.int/api-key), from the environment variables
EUMETSAT_KEY and EUMETSAT_SECRET or else from the file that `eumdac set-credentials` writes; they are sent to the token
service and go nowhere else. EUMETSAT_API replaces the address of the API that eumdac knows.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit
from xml.etree import ElementTree

import eumdac.request
import requests
from eumdac.config import get_credentials_path
from eumdac.datastore import DataStore
from eumdac.errors import EumdacError
from eumdac.token import AccessToken, URLs
from requests.auth import AuthBase
from urllib3 import BaseHTTPResponse

from benchmark.api import UserError
from datasets._slstr_manifest import MANIFEST, Unsound
from datasets._slstr_names import parse
from datasets._slstr_patience import LOST, Adapter, Busy, Large, Patience, Patient, take

# SLSTR level-1B radiances and brightness temperatures (SL_1_RBT), the series processed in near-real and non-real time;
# from memory, as several public programs use it; a reprocessed series has another id.
COLLECTION = "EO:EUM:DAT:0411"
TOKEN = "the request for a token"
# Bytes of a manifest; that of a product has a tenth of a million.
LARGEST_MANIFEST = 8_000_000

Result = TypeVar("Result")


@dataclass(frozen=True)
class Product:
    """A product that a search found.

    Attributes:
        name: name of the product, without .SEN3.
        id: what the Data Store calls it.
        md5: of the whole product as one archive, "" where the Data Store gives none.
        entries: what the Data Store calls its files.
    """

    name: str
    id: str
    md5: str
    entries: tuple[str, ...]

    def entry(self, file: str) -> str:
        """Return what the Data Store calls a file of this product."""
        for entry in self.entries:
            if entry.rpartition("/")[2] == file:
                return entry
        raise Unsound(f"EUMETSAT lists no {file} among the files of {self.name}")


def product_of(id: str, md5: str | None, entries: Sequence[str]) -> Product:
    """Return a product from what the server or a file says; names that could lead out of a folder are refused."""
    name = id.removesuffix(".SEN3")
    parse(f"{name}.SEN3")
    for entry in entries:
        if entry.startswith("/") or ".." in entry.split("/") or "\\" in entry:
            raise UserError(f"'{entry[:120]}' in {name} is not the name of a file")
    return Product(name, id, md5 or "", tuple(entries))


def credentials() -> tuple[str, str]:
    """Return consumer key and secret.

    Raises:
        UserError: there are none, or the file of eumdac is damaged.
    """
    key, secret = os.environ.get("EUMETSAT_KEY", ""), os.environ.get("EUMETSAT_SECRET", "")
    if key and secret:
        return key, secret
    path = get_credentials_path()
    if not path.is_file():
        raise UserError(
            "no credentials for EUMETSAT: set EUMETSAT_KEY and EUMETSAT_SECRET, or run 'eumdac set-credentials KEY "
            "SECRET' once (both are at https://api.eumetsat.int/api-key)"
        )
    match = re.fullmatch(r"(\w+),(\w+)\s*", path.read_text(errors="replace"))
    if match is None:
        raise UserError(f"{path} is damaged: run 'eumdac set-credentials KEY SECRET' again")
    return match[1], match[2]


def addresses() -> URLs:
    """Return eumdac's addresses, with EUMETSAT_API for their common beginning where that is set."""
    urls, base = URLs(), os.environ.get("EUMETSAT_API", "")
    if base:
        if not _trusted(base):
            raise UserError(
                "EUMETSAT_API is not an address that begins with https:// and a host, without a user's name"
            )
        urls["DEFAULT"]["api"] = base.rstrip("/")
    return urls


def _trusted(address: str) -> bool:
    """Whether the token service may be there: it gets the secret, in the open only as far as this machine."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return False
    # What comes before an @ looks like a host and is none.
    if not host or "@" in parts.netloc or "\\" in address:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in ("127.0.0.1", "localhost"))


class _Token(AccessToken):
    """One token for all threads, asked for by one of them at a time."""

    def __init__(self, pair: tuple[str, str], urls: URLs) -> None:
        super().__init__(pair, urls=urls)
        self._lock = threading.Lock()

    @property
    def auth(self) -> AuthBase:
        with self._lock:
            return super().auth

    def renew(self) -> None:
        """Ask for a token anew before it is used next."""
        with self._lock:
            self._expiration = 0


class Store:
    """The Data Store of one user; for any thread, while `connected` is open.

    Args:
        patient: what waits between attempts.
    """

    def __init__(self, patient: Patient) -> None:
        self._patient, self._limits = patient, patient.limits
        self._token = _Token(credentials(), addresses())
        self._store = DataStore(self._token)
        self._address = self._token.urls.get("DEFAULT", "api")

    def find(self, queries: Sequence[Mapping[str, Any]]) -> list[Product]:
        """Return the products that any of the queries finds, by start and platform.

        Raises:
            UserError: no such collection, no access, or no product.
        """
        found: dict[str, Product] = {}
        for query in queries:
            products = self._try(COLLECTION, partial(self._search, query), self._limits.opening)
            found |= {product.id: product for product in products}
        return sorted(found.values(), key=lambda product: product.name[len("S3A_SL_1_RBT____") :] + product.name)

    def _search(self, query: Mapping[str, Any]) -> list[Product]:
        # The address is asked first: a search in a collection that is not there may also just find nothing.
        collection, found, ends = self._store.get_collection(COLLECTION), [], self._limits.ends(0)
        try:
            collection.title  # noqa: B018
            for each in collection.search(**query):
                self._patient.go_on(ends)
                found.append(product_of(str(each), each.md5, each.entries))
            return found
        except (LookupError, TypeError, AttributeError, ElementTree.ParseError):
            raise self._strange() from None

    def manifest(self, product: Product) -> bytes:
        """Return the manifest of a product."""
        what, entry, ends = f"{MANIFEST} of {product.name}", product.entry(MANIFEST), self._limits.ends(0)

        def read() -> bytes:
            with self.stream(product, entry) as (stream, _):
                try:
                    return take(stream, LARGEST_MANIFEST, partial(self._patient.go_on, ends))
                except Large:
                    raise Unsound(f"{what} has more than {LARGEST_MANIFEST / 1e6:.0f} MB, so it is none") from None

        return self._try(what, read, self._limits.tries, ends)

    @contextmanager
    def stream(
        self, product: Product, entry: str, start: int = 0, end: int = 0
    ) -> Iterator[tuple[BaseHTTPResponse, int]]:
        """Open bytes start to end of an entry, or all; gives the stream and the position that it begins at."""
        # Coded bytes could be neither counted nor resumed.
        headers = {"Accept-Encoding": "identity"}
        chunk = (start, end) if start else None
        with self._store.get_product(COLLECTION, product.id).open(entry, chunk, headers) as stream:
            answer = cast(BaseHTTPResponse, stream)
            resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            yield answer, start if resumed else 0

    def fill(self, what: str, work: Callable[[], None], ends: float, gained: Callable[[], int]) -> None:
        """Do work that fetches a file; it is begun again until `ends` as long as `gained` grows between failures."""
        self._try(what, work, self._limits.tries, ends, gained)

    def _try(
        self,
        what: str,
        work: Callable[[], Result],
        tries: int,
        ends: float = 0,
        gained: Callable[[], int] = int,
    ) -> Result:
        """Do work with patience; tell what cannot be mended by it in one sentence."""
        renewed, ends = False, ends or self._limits.ends(0)
        while True:
            try:
                return self._patient.attempt(work, tries, ends, gained)
            except EumdacError as error:
                status = (error.extra_info or {}).get("status")
                if status == 401 and not renewed:
                    renewed = True
                    self._token.renew()
                    continue
                raise self._refusal(what, status) from None
            except requests.HTTPError as error:
                raise self._refusal(TOKEN, getattr(error.response, "status_code", None)) from None
            except Busy as busy:
                raise UserError(f"{self._address} {busy}; what was fetched stays, run the same again later") from None
            except LOST as error:
                raise UserError(
                    f"{self._address} cannot be reached ({self._limits.reason(error)}); what was fetched stays, "
                    "run the same again to go on"
                ) from None
            except requests.RequestException:
                raise self._strange() from None

    def _strange(self) -> UserError:
        return UserError(f"{self._address} does not answer as EUMETSAT's Data Store does")

    def _refusal(self, what: str, status: int | None) -> UserError:
        if status == 401 or (what == TOKEN and status == 400):
            return UserError(
                f"EUMETSAT refuses the credentials ({status}): check EUMETSAT_KEY and EUMETSAT_SECRET, or what "
                "'eumdac set-credentials' was given"
            )
        if status == 403:
            return UserError(
                f"EUMETSAT does not let this account at {what} (403): accept its licence in the Data Store"
            )
        if status is None or what == TOKEN:
            return self._strange()
        if what == COLLECTION:
            return UserError(f"EUMETSAT has no collection {what} for this account ({status})")
        return Unsound(f"EUMETSAT answers {status} to {what}")


@contextmanager
def connected(patience: Patience) -> Iterator[None]:
    """Let eumdac's requests end in time, and keep its tokens out of logs, while this is open."""
    logger, before = logging.getLogger("eumdac"), eumdac.request.HTTPAdapter
    level = logger.level
    eumdac.request.HTTPAdapter = partial(Adapter, patience)  # type: ignore[assignment,misc]
    logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        eumdac.request.HTTPAdapter = before  # type: ignore[assignment,misc]
        logger.setLevel(level)
