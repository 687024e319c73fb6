"""A server on 127.0.0.1 that speaks what eumdac uses of EUMETSAT's Data Store, and misbehaves as a test asks."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

COLLECTION = "EO:EUM:DAT:0411"
KEY, SECRET = "the_consumer_key", "the_consumer_secret"
TERMS = ("pi", "si", "c", "format", "set", "dtstart", "dtend", "bbox", "sat", "timeliness", "sort")


def manifest_of(files: Mapping[str, bytes], hrefs: Mapping[str, str] | None = None) -> bytes:
    """Return an xfdumanifest.xml that lists these files; `hrefs` replaces what it calls some of them."""
    objects = "".join(
        f'<dataObject ID="D{i}"><byteStream mimeType="application/x-netcdf" size="{len(content)}">'
        f'<fileLocation locatorType="URL" href="{(hrefs or {}).get(name, "./" + name)}"/>'
        f'<checksum checksumName="MD5">{hashlib.md5(content).hexdigest()}</checksum></byteStream></dataObject>'
        for i, (name, content) in enumerate(files.items())
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1">'
        f"<dataObjectSection>{objects}</dataObjectSection></xfdu:XFDU>"
    ).encode()


@dataclass
class DataStoreServer:
    """Products by id, each its files by name, and how to misbehave.

    Attributes:
        products: what there is; `xfdumanifest.xml` among the files.
        faults: by entry ("token" and "search" too) the answers to give first, one a request: {"status", "headers",
            "body"} an error; {"truncate": n} a body cut after n bytes; {"corrupt": True} a changed body; {"stall": s}
            a silence before the body; {"trickle": s} a byte every s seconds; {"whole": True} a range ignored.
        titles: by product, what a search calls its files instead of their names.
        dead: refuses every connection by closing it.
        delay: seconds before an entry is sent.
        revoked: tokens that are refused.
        tokens: number of tokens handed out, "token1" the first.
        seen: ("token", "search" or the name of an entry, Range header or None) of each such request, in order.
        queries: terms of the searches that were answered.
        most: largest number of entries sent at one time.
    """

    products: dict[str, dict[str, bytes]]
    faults: dict[str, list[dict]] = field(default_factory=lambda: defaultdict(list))
    titles: dict[str, list[str]] = field(default_factory=dict)
    dead: bool = False
    delay: float = 0
    revoked: set[str] = field(default_factory=set)
    tokens: int = 0
    seen: list[tuple[str, str | None]] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    active: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> DataStoreServer:
        handler = type("Handler", (_Handler,), {"store": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}"

    def sent(self) -> list[str]:
        """Names of the entries asked for, in order."""
        return [what for what, _ in self.seen if what not in ("token", "search")]

    def feature(self, id: str) -> dict:
        """What a search says of a product."""
        start, stop = (f"{t[:4]}-{t[4:6]}-{t[6:11]}:{t[11:13]}:{t[13:]}Z" for t in (id[16:31], id[32:47]))
        titles = self.titles.get(id, [f"{id.removesuffix('.SEN3')}.SEN3/{name}" for name in self.products[id]])
        properties = {
            "identifier": id,
            "parentIdentifier": COLLECTION,
            "date": f"{start}/{stop}",
            "updated": stop,
            "acquisitionInformation": [],
            "productInformation": {"size": 1},
            "extraInformation": {"md5": hashlib.md5(id.encode()).hexdigest()},
            "links": {"sip-entries": [{"title": title} for title in titles]},
        }
        return {"id": id, "geometry": {"type": "Polygon", "coordinates": []}, "properties": properties}


class _Handler(BaseHTTPRequestHandler):
    store: DataStoreServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def json(self, content: object) -> None:
        self.answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def failed(self, what: str) -> dict:
        """Note a request; return how to misbehave, and misbehave already where that is an error status."""
        with self.store.lock:
            self.store.seen.append((what, self.headers.get("Range")))
            fault = self.store.faults[what].pop(0) if self.store.faults.get(what) else {}
        if "status" in fault and "trickle" in fault:
            self.trickle(fault["body"], fault["trickle"], fault["status"])
        elif "status" in fault:
            self.answer(fault["status"], fault.get("body", b""), fault.get("headers"))
        return fault

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.store.dead:
            self.close_connection = True
        elif "status" in self.failed("token"):
            pass
        elif self.headers["Authorization"] != "Basic " + base64.b64encode(f"{KEY}:{SECRET}".encode()).decode():
            self.answer(401)
        else:
            with self.store.lock:
                self.store.tokens += 1
            self.json({"access_token": f"token{self.store.tokens}", "expires_in": 3600})

    def do_GET(self) -> None:
        if self.store.dead:
            self.close_connection = True
            return
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token.startswith("token") or token in self.store.revoked:
            self.answer(401, b'{"title": "Unauthorized"}')
            return
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        parts = [unquote(part) for part in url.path.split("/")]
        if url.path.endswith("/entry"):
            self.entry(parts[-2], query["name"])
        elif parts[-1] == "osdd":
            terms = "".join(f'<Parameter name="{term}"/>' for term in TERMS)
            self.answer(200, f'<O><Url type="application/json">{terms}</Url></O>'.encode())
        elif parts[-1] == "os":
            self.search(query)
        elif parts[-2:] == ["collections", COLLECTION]:
            self.json({"collection": {"geometry": {}, "properties": {"links": {}, "title": "SLSTR", "abstract": ""}}})
        else:
            self.answer(404, b'{"title": "Not found"}')

    def search(self, query: dict[str, str]) -> None:
        fault = self.failed("search")
        if "status" in fault:
            return
        self.store.queries.append(query)
        first, last = (re.sub(r"[-:Z]", "", query[term]) for term in ("dtstart", "dtend"))
        ids = [id for id in self.store.products if first <= id[16:31] <= last]
        page = ids[int(query["si"]) : int(query["si"]) + int(query["c"])]
        found = {"totalResults": len(ids), "features": [self.store.feature(id) for id in page]}
        if "trickle" in fault:
            self.trickle(json.dumps(found).encode(), fault["trickle"])
        else:
            self.json(found)

    def entry(self, id: str, title: str) -> None:
        name = title.rpartition("/")[2]
        fault = self.failed(name)
        if "status" in fault:
            return
        if name not in self.store.products.get(id, {}):
            self.answer(404, b'{"title": "Not found"}')
            return
        with self.store.lock:
            self.store.active += 1
            self.store.most = max(self.store.most, self.store.active)
        try:
            self.send_entry(self.store.products[id][name], name, fault)
        finally:
            with self.store.lock:
                self.store.active -= 1

    def send_entry(self, content: bytes, name: str, fault: dict) -> None:
        time.sleep(self.store.delay)
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        status, headers = 200, {"Content-Disposition": f'attachment; filename="{name}"'}
        if asked and not fault.get("whole"):
            start, last = int(asked[1]), int(asked[2])
            if start >= len(content):
                self.answer(416)
                return
            status = 206
            headers["Content-Range"] = f"bytes {start}-{last}/{len(content)}"
            content = content[start : last + 1]
        if fault.get("corrupt"):
            content = bytes([content[0] ^ 1]) + content[1:]
        if "truncate" in fault or "stall" in fault:
            headers["Content-Length"] = str(len(content))
            content = content[: fault.get("truncate", 0)]
            self.close_connection = True
        if "trickle" in fault:
            self.trickle(content, fault["trickle"])
            return
        self.answer(status, content, {"Content-Length": str(len(content)), **headers})
        time.sleep(fault.get("stall", 0))

    def trickle(self, content: bytes, pause: float, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Disposition", 'attachment; filename="slow.nc"')
        self.end_headers()
        self.close_connection = True
        try:
            for position in range(len(content)):
                self.wfile.write(content[position : position + 1])
                time.sleep(pause)
        except OSError:
            return
