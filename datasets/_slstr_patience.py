"""How long to bear with a server that is slow, busy or away: one rule for every request of a download.

eumdac 3.1 sets no time limit on its requests, repeats them at once from every thread, and sleeps for as long as an
answer 429 asks; `Adapter` turns such answers into exceptions, and `Patient` waits. A limit of silence alone would not
end an answer that comes byte by byte, so each is read piece by piece, against the clock.
"""

from __future__ import annotations

import io
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse

Result = TypeVar("Result")

CHUNK = 1 << 18
# Bytes of an answer that is no file: a page of a search, the largest, has a few millions.
LARGEST = 64_000_000


@dataclass(frozen=True)
class Patience:
    """Limits, in seconds where nothing else is said.

    Attributes:
        opening: attempts at the first answer and at a search.
        tries: attempts at a file that gain no byte.
        first, longest: wait after a first failure, which doubles with each further one, and its limit.
        silence: without a byte after which a connection is dead.
        total: for a piece of work, besides the time its bytes may take.
        slowest: bytes a second below which a transfer is not worth waiting for.
    """

    opening: int = 4
    tries: int = 8
    first: float = 1.0
    longest: float = 60.0
    silence: float = 60.0
    total: float = 900.0
    slowest: float = 10_000.0

    def ends(self, size: int) -> float:
        """Return the moment, of the monotonic clock, until when so many bytes may come."""
        return time.monotonic() + self.total + size / self.slowest

    def wait(self, failures: int, asked: float | None) -> float:
        """Return how long to wait after so many failures; clients that failed together come back apart."""
        if asked is not None:
            return asked + random.uniform(0, self.first)
        return min(self.longest, self.first * 2 ** (failures - 1)) * random.uniform(0.5, 1)

    def reason(self, error: Exception) -> str:
        """Return what broke a connection, in a few words."""
        if isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError):
            return "its certificate is not accepted"
        if isinstance(error, Slow):
            return f"slower than {self.slowest:g} bytes a second"
        if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
            return f"no answer within {self.silence:g} s"
        return "no connection"


DEFAULT = Patience()


class Busy(requests.RequestException):
    """A server that answers 429 or 5xx; `asked` is for how many seconds it wants to be left alone."""

    def __init__(self, status: int, asked: float | None) -> None:
        super().__init__(f"is busy ({status})" + (f" and asks to be left alone for {asked:.0f} s" if asked else ""))
        self.asked = asked


class Short(requests.ConnectionError):
    """A transfer that ended before its last byte."""


class Slow(Short):
    """A transfer that goes on, but has gone on for too long."""


class Large(requests.RequestException):
    """An answer of more bytes than such an answer has."""


class Stopped(Exception):
    """Another thread failed: leave off."""


# What breaks off a request or a transfer, and may mend. A failure of the disk is none of these.
LOST = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
)


def take(stream: BaseHTTPResponse, most: int, go_on: Callable[[], None]) -> bytes:
    """Return the rest of an answer.

    Args:
        stream: the answer.
        most: bytes that it may have.
        go_on: called after each piece; raises where it takes too long.

    Raises:
        Large: it has more bytes.
    """
    body = bytearray()
    while chunk := stream.read1(CHUNK, decode_content=True):
        body += chunk
        if len(body) > most:
            raise Large(f"more than {most} bytes")
        go_on()
    return bytes(body)


def in_time(ends: float) -> None:
    """Raise Slow after a moment of the monotonic clock."""
    if time.monotonic() > ends:
        raise Slow


class Adapter(HTTPAdapter):
    """Gives every request a time limit and lets `Patient` alone repeat it; takes the place of eumdac's own."""

    def __init__(self, patience: Patience, max_retries: Any = 0) -> None:
        self._limits = patience
        super().__init__(max_retries=0)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send a request, and read the answer unless it is the stream of a file.

        Raises:
            Busy: the answer is 429 or 5xx.
            Slow: it takes longer than work without a file may.
            Large: it has more bytes than any answer that is no file.
        """
        ends, options["timeout"] = self._limits.ends(0), self._limits.silence
        response = super().send(request, *args, **options)
        if not (options.get("stream") and response.ok):
            with response:
                body = take(response.raw, LARGEST, partial(in_time, ends))
            response.raw = urllib3.HTTPResponse(io.BytesIO(body), preload_content=False)
        if response.status_code == 429 or response.status_code >= 500:
            with response:
                raise Busy(response.status_code, _asked(response))
        return response


def _asked(response: requests.Response) -> float | None:
    """Return the seconds that a Retry-After header, or the body of a 429 of the Data Store, asks to wait."""
    header = response.headers.get("Retry-After")
    try:
        if header is not None:
            return urllib3.Retry().parse_retry_after(header)
        return max(0.0, float(response.json()["message"]["retryAfter"]) / 1000 - time.time())
    except (urllib3.exceptions.HTTPError, ValueError, LookupError, TypeError):
        return None


@dataclass(frozen=True)
class Patient:
    """Repeats what fails for a while.

    Attributes:
        limits: how long.
        say: is told of waits that a user would notice.
        stop: set when nothing more should be attempted.
    """

    limits: Patience
    say: Callable[[str], None]
    stop: threading.Event

    def attempt(self, work: Callable[[], Result], tries: int, ends: float, gained: Callable[[], int]) -> Result:
        """Do work; begin it again after failures that may mend, `tries` times without a gain, and not after `ends`.

        Raises:
            Busy: of the last attempt.
            requests.RequestException, urllib3.exceptions.HTTPError: of the last attempt, see `LOST`.
            Stopped: the work of another thread failed.
        """
        failures, before = 0, gained()
        while True:
            self.go_on()
            try:
                return work()
            except (Busy, *LOST) as error:
                failures, before = (1 if gained() > before else failures + 1), gained()
                wait = self.limits.wait(failures, getattr(error, "asked", None))
                if failures >= tries or time.monotonic() + wait > ends:
                    raise
            if wait >= 5:
                self.say(f"waiting {wait:.0f} s for EUMETSAT")
            self.stop.wait(wait)

    def go_on(self, ends: float = math.inf) -> None:
        """Raise Stopped if nothing more should be attempted, and Slow after a moment."""
        if self.stop.is_set():
            raise Stopped
        in_time(ends)
