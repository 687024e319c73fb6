"""What a download of SLSTR products refuses: names that escape, addresses, credentials, requests and small disks."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from data_store_server import KEY, SECRET, DataStoreServer, manifest_of
from fetch_factory import FILE, ONE, SMALL, TWO, names, product, refused, run, whole
from hypothesis import given
from hypothesis import strategies as st

from benchmark.api import UserError
from benchmark.sources import Search
from datasets import _slstr_fetch
from datasets._slstr_manifest import MANIFEST, NEEDED, Listed, Unsound, read_manifest, wanted
from datasets._slstr_store import addresses, product_of


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DataStoreServer]:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("EUMDAC_CONFIG_DIR", raising=False)
    monkeypatch.setenv("EUMETSAT_KEY", KEY)
    monkeypatch.setenv("EUMETSAT_SECRET", SECRET)
    with DataStoreServer({ONE: product(1, SMALL), TWO: product(2, SMALL)}) as store:
        monkeypatch.setenv("EUMETSAT_API", store.url)
        yield store


@pytest.fixture
def search(tmp_path: Path) -> Search:
    return Search((30.0, -5.0, 45.0, 12.0), "2021-08-27", "2021-08-27", tmp_path / "out", workers=2)


def test_manifest_that_is_too_large(server: DataStoreServer, search: Search) -> None:
    server.products[ONE][MANIFEST] += b" " * 8_000_000
    assert f"{MANIFEST} of {ONE.removesuffix('.SEN3')} has more than 8 MB" in refused(search)
    assert names(search.out) == [TWO]
    server.products[ONE] = product(1, SMALL)
    server.faults[MANIFEST] = [{"truncate": 100}]
    assert run(search)[0] == 2


def test_answer_that_is_too_large(server: DataStoreServer, search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets._slstr_patience.LARGEST", 500)
    assert "does not answer as EUMETSAT's Data Store does" in refused(search)


def test_part_that_is_larger_than_its_file(server: DataStoreServer, search: Search) -> None:
    left = search.out / f".{ONE.removesuffix('.SEN3')}.partial" / f"{FILE}.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(bytes(5000))
    _, _, steps = run(search)
    assert whole(search.out, ONE, server.products[ONE])
    assert steps[-1][0] == steps[-1][1]


def test_search_is_frozen(server: DataStoreServer, search: Search) -> None:
    del server.products[TWO]
    run(search)
    server.products[TWO] = product(2, SMALL)
    assert run(search)[0] == 1
    (lock,) = search.out.glob("search-*.json")
    content = json.loads(lock.read_text())
    assert [each["id"] for each in content["products"]] == [ONE]
    assert content["products"][0]["entries"] == [f"{ONE}/{name}" for name in server.products[ONE]]
    lock.unlink()
    assert run(search)[0] == 2


def test_damaged_lock_file(server: DataStoreServer, search: Search) -> None:
    run(search)
    (lock,) = search.out.glob("search-*.json")
    lock.write_text(lock.read_text()[:100])
    assert "delete it" in refused(search)
    lock.write_text(json.dumps({"products": [{"id": "../../x", "md5": "", "entries": []}]}))
    assert "is not the name of an SLSTR" in refused(search)


@pytest.mark.parametrize("id", [f"../{ONE}", "S3A_SL_1_RBT____/../../x", "/etc/passwd", ""])
def test_product_names_that_escape(id: str) -> None:
    with pytest.raises(UserError, match="not the name of an SLSTR"):
        product_of(id, None, [])


@pytest.mark.parametrize("entry", ["../viscal.nc", "/viscal.nc", "a/../../viscal.nc", "a\\..\\viscal.nc"])
def test_entries_that_escape(server: DataStoreServer, search: Search, entry: str) -> None:
    server.titles[ONE] = [f"{ONE}/{MANIFEST}", entry]
    assert "not the name of a file" in refused(search)


@pytest.mark.parametrize("href", ["../evil.nc", "./../evil.nc", "/tmp/evil.nc", "..", "http://x/evil.nc", "a/b.nc"])
def test_manifests_that_escape(server: DataStoreServer, search: Search, href: str) -> None:
    files = {name: server.products[ONE][name] for name in SMALL}
    server.products = {ONE: {MANIFEST: manifest_of(files, {"viscal.nc": href}), **files}}
    assert "not a plain file name" in refused(replace(search, options={"entries": "all"}))
    assert {path.name for path in search.out.parent.iterdir()} <= {"out", "home"}
    assert not list(search.out.rglob("*.nc"))


def test_wrong_credentials(server: DataStoreServer, search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EUMETSAT_SECRET", f"not_{SECRET[4:]}")
    assert "refuses the credentials (401)" in refused(search)
    monkeypatch.setenv("EUMETSAT_SECRET", SECRET)
    server.revoked = {f"token{i}" for i in range(9)}
    assert "refuses the credentials (401)" in refused(search)


def test_no_credentials_and_those_of_eumdac(
    server: DataStoreServer, search: Search, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("EUMETSAT_KEY")
    message = refused(search)
    assert "EUMETSAT_KEY and EUMETSAT_SECRET" in message
    assert "eumdac set-credentials" in message
    path = tmp_path / "home" / ".eumdac" / "credentials"
    path.parent.mkdir(parents=True)
    path.write_text(f"{KEY} {SECRET}")
    assert "is damaged" in refused(search)
    path.write_text(f"{KEY},{SECRET}")
    assert run(search)[0] == 2


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1.example.org",
        "http://localhost:x@evil.example",
        "http://localhost@evil.example/",
        "https://localhost:x@evil.example",
        "http://localhost\\@evil.example",
        "http://[::1",
        "https://",
        "file://localhost/etc",
        "localhost:8000",
    ],
)
def test_address_in_the_open_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EUMETSAT_API", address)
    with pytest.raises(UserError, match="begins with https://"):
        addresses()


@pytest.mark.parametrize("address", ["https://api.example.org/", "http://localhost:8000", "http://127.0.0.1"])
def test_address_that_is_safe_is_taken(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EUMETSAT_API", address)
    assert addresses().get("DEFAULT", "api") == address.rstrip("/")


def test_no_credential_is_left_anywhere(
    server: DataStoreServer, search: Search, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture
) -> None:
    server.faults[FILE] = [{"status": 503}, {"truncate": 10}]
    with caplog.at_level(logging.DEBUG):
        _, said, _ = run(search)
    out = "".join([*said, caplog.text, *capfd.readouterr()])
    kept = b"".join(path.read_bytes() for path in search.out.rglob("*") if path.is_file())
    for word in (KEY, SECRET, "token1"):
        assert word not in out
        assert word.encode() not in kept


def test_no_such_collection_and_no_product(
    server: DataStoreServer, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no SLSTR product there" in refused(replace(search, start="2020-01-01", end="2020-01-02"))
    monkeypatch.setattr("data_store_server.COLLECTION", "EO:EUM:DAT:0412")
    assert "no collection EO:EUM:DAT:0411" in refused(search)


def test_something_else_answers(server: DataStoreServer, search: Search) -> None:
    server.faults["token"] = [{"status": 200, "body": b"<html>Please log in to this network</html>"}]
    assert "does not answer as EUMETSAT's Data Store does" in refused(search)


def test_no_network(server: DataStoreServer, search: Search) -> None:
    server.dead = True
    assert "cannot be reached (no connection)" in refused(search)


def test_disk_too_small(server: DataStoreServer, search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    free = type("Usage", (), {"free": 5000})
    monkeypatch.setattr(_slstr_fetch.shutil, "disk_usage", lambda _: free)
    assert "free, and the products need" in refused(search)
    assert not list(search.out.rglob("*.nc*"))


def test_folder_that_cannot_be_written(server: DataStoreServer, search: Search) -> None:
    search.out.write_text("a file")
    assert str(search.out) in refused(search)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": "yesterday"}, "ISO 8601"),
        ({"end": "2021-08-26"}, "before it starts"),
        ({"bbox": (30.0, -5.0, 30.0, 12.0)}, "from 30 to 30 degrees east has no width"),
        ({"bbox": (180.0, -5.0, -180.0, 12.0)}, "has no width"),
        ({"options": {"colour": "red"}}, "no option 'colour'"),
        ({"options": {"entries": "some"}}, "entries is one of needed, all"),
        ({"options": {"satellite": "S2A"}}, "satellite is one of S3A"),
    ],
)
def test_searches_that_make_no_sense(search: Search, change: dict, message: str) -> None:
    assert message in refused(replace(search, **change))


def test_needed_files_are_those_of_a_real_manifest() -> None:
    folder = os.environ.get("NEPHOSCOPE_SLSTR")
    if not folder:
        pytest.skip("NEPHOSCOPE_SLSTR names no folder with a real product")
    product = next(Path(folder).glob("*.SEN3"))
    files = read_manifest((product / MANIFEST).read_bytes(), product.name)
    assert len(files) == 97
    assert set(NEEDED) <= set(files)
    assert 100e6 < sum(listed.size for listed in wanted(files, "needed").values()) < 250e6


@given(
    st.dictionaries(st.from_regex(r"[A-Za-z0-9_]{1,12}\.(nc|xml)", fullmatch=True), st.binary(max_size=40), min_size=1)
)
def test_manifest_round_trip(files: dict[str, bytes]) -> None:
    read = read_manifest(manifest_of(files), "x")
    assert {name: listed.size for name, listed in read.items()} == {name: len(body) for name, body in files.items()}
    assert all(isinstance(listed, Listed) and len(listed.md5) == 32 for listed in read.values())


@given(st.binary(max_size=200), st.integers(0, 600))
def test_damaged_manifest_is_unsound(noise: bytes, where: int) -> None:
    sound = manifest_of({"a.nc": b"a", "b.nc": b"bc"})
    try:
        files = read_manifest(sound[:where] + noise + sound[where + len(noise) :], "x")
    except Unsound:
        return
    assert all(name.endswith((".nc", ".xml")) and "/" not in name for name in files)
