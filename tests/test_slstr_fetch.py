"""Download of SLSTR products from a Data Store that truncates, corrupts, throttles and dies."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from data_store_server import KEY, SECRET, DataStoreServer
from fetch_factory import FILE, HASTY, ONE, SMALL, TWO, names, product, refused, run, whole

from benchmark.api import UserError
from benchmark.sources import Search
from datasets._slstr_fetch import fetch
from datasets._slstr_manifest import MANIFEST, NEEDED, verify

ROOT = Path(__file__).resolve().parent.parent


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


def test_fetches_the_needed_files_of_products(server: DataStoreServer, search: Search) -> None:
    server.products = {ONE: product(1), TWO: product(2)}
    count, said, steps = run(search)
    assert count == 2
    for id, files in server.products.items():
        expected = {name: content for name, content in files.items() if name != "met_tx.nc"}
        assert whole(search.out, id, expected)
        assert verify(search.out / id) == len(NEEDED)
    assert "met_tx.nc" not in server.sent()
    total = sum(len(content) for files in server.products.values() for name, content in files.items() if name in NEEDED)
    assert steps[0] == (0, total)
    assert steps[-1] == (total, total)
    assert not list(search.out.rglob("*.part*"))
    assert any("2 product(s)" in line for line in said)


def test_asks_for_the_area_and_time(server: DataStoreServer, search: Search) -> None:
    options = {"satellite": "S3A", "timeliness": "NR"}
    run(replace(search, bbox=(170.0, -5.0, -170.0, 12.0), options=options, dry_run=True))
    assert [query["bbox"] for query in server.queries] == ["170,-5,180,12", "-180,-5,-170,12"]
    run(replace(search, bbox=(180.0, -5.0, -170.0, 12.0), options=options, dry_run=True))
    assert [query["bbox"] for query in server.queries[2:]] == ["-180,-5,-170,12"]
    assert {query["dtend"] for query in server.queries} == {"2021-08-27T23:59:59Z"}
    assert {(query["sat"], query["timeliness"]) for query in server.queries} == {("Sentinel-3A", "NR")}


def test_all_entries_and_later_all_entries(server: DataStoreServer, search: Search) -> None:
    server.products = {ONE: product(1, (*SMALL, "met_tx.nc"))}
    run(search)
    assert not (search.out / ONE / "met_tx.nc").exists()
    before = len(server.sent())
    run(replace(search, options={"entries": "all"}))
    assert whole(search.out, ONE, server.products[ONE])
    assert server.sent()[before:] == ["met_tx.nc"]


def test_second_call_contacts_nothing(server: DataStoreServer, search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    run(search)
    seen = list(server.seen)
    monkeypatch.delenv("EUMETSAT_KEY")
    assert run(search)[0] == 2
    assert server.seen == seen


def test_a_file_that_was_lost_is_fetched_alone(server: DataStoreServer, search: Search) -> None:
    run(search)
    (search.out / ONE / FILE).write_bytes(b"cut")
    (search.out / TWO / MANIFEST).write_bytes(b"<damaged")
    before = len(server.sent())
    run(search)
    assert server.sent()[before:] in ([FILE, MANIFEST], [MANIFEST, FILE])
    assert all(whole(search.out, id, files) for id, files in server.products.items())


@pytest.mark.parametrize("honoured", [True, False])
def test_truncated_body_is_resumed(server: DataStoreServer, search: Search, honoured: bool) -> None:
    server.products = {ONE: product(1, SMALL)}
    server.faults[FILE] = [{"truncate": 700}, {} if honoured else {"whole": True}]
    _, _, steps = run(search)
    size = len(server.products[ONE][FILE])
    assert [range_ for name, range_ in server.seen if name == FILE] == [None, f"bytes=700-{size - 1}"]
    assert whole(search.out, ONE, server.products[ONE])
    assert steps[-1][0] == steps[-1][1]


def test_progress_outlives_many_breaks(server: DataStoreServer, search: Search) -> None:
    """Each attempt brings a little; only attempts that bring nothing count towards giving up."""
    server.faults[FILE] = [{"truncate": 100}] * (HASTY.tries + 6)
    assert run(search)[0] == 2


def test_corrupt_file_is_fetched_again(server: DataStoreServer, search: Search) -> None:
    server.products = {ONE: product(1, SMALL)}
    server.faults[FILE] = [{"corrupt": True}]
    run(search)
    assert server.sent().count(FILE) == 2
    assert whole(search.out, ONE, server.products[ONE])


def test_corrupt_file_is_given_up_and_other_products_are_not(server: DataStoreServer, search: Search) -> None:
    server.products[ONE][FILE] = server.products[ONE][FILE][::-1]
    message = refused(search)
    assert message.startswith("1 of 2 product(s) cannot be had")
    assert f"{FILE} of {ONE.removesuffix('.SEN3')} arrived 3 times" in message
    assert names(search.out) == [TWO]
    assert server.sent().count(FILE) == 4
    server.products[ONE] = product(1, SMALL)
    before = len(server.sent())
    assert run(search)[0] == 2
    assert server.sent()[before:] == [FILE]


@pytest.mark.parametrize("length", [1000, 5000])
def test_file_of_another_length_is_given_up(server: DataStoreServer, search: Search, length: int) -> None:
    server.products[ONE][FILE] = bytes(length)
    assert FILE in refused(search)
    assert names(search.out) == [TWO]


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(server: DataStoreServer, search: Search, status: int) -> None:
    server.faults["viscal.nc"] = [{"status": status, "headers": {"Retry-After": "1"}}]
    started = time.monotonic()
    assert run(search)[0] == 2
    assert time.monotonic() - started >= 1


def test_retry_after_of_the_data_store_is_honoured(server: DataStoreServer, search: Search) -> None:
    until = time.time() + 0.8
    server.faults["search"] = [{"status": 429, "body": json.dumps({"message": {"retryAfter": until * 1000}}).encode()}]
    run(search)
    assert time.time() >= until


def test_long_retry_after_is_not_waited_for(server: DataStoreServer, search: Search) -> None:
    server.faults["search"] = [{"status": 429, "headers": {"Retry-After": "7200"}}]
    started = time.monotonic()
    assert "asks to be left alone for 7200 s" in refused(search)
    assert time.monotonic() - started < HASTY.total


def test_server_errors_are_borne_and_end(server: DataStoreServer, search: Search) -> None:
    server.faults[FILE] = [{"status": 500}, {"status": 502}]
    server.faults["token"] = [{"status": 503}]
    assert run(search)[0] == 2
    server.faults["search"] = [{"status": 503}] * 99
    assert "is busy (503)" in refused(replace(search, end="2021-08-28"))
    assert len(server.faults["search"]) == 99 - HASTY.opening


def test_silent_server_is_left(server: DataStoreServer, search: Search) -> None:
    server.faults[FILE] = [{"stall": 5}]
    started = time.monotonic()
    assert run(search)[0] == 2
    assert time.monotonic() - started < 5


def test_trickle_ends(server: DataStoreServer, search: Search) -> None:
    server.faults[FILE] = [{"trickle": 0.02}] * 2
    assert "slower than 1e+06 bytes a second" in refused(search, replace(HASTY, total=0.6, slowest=1e6))


@pytest.mark.parametrize(
    ("what", "fault"), [(MANIFEST, {}), ("search", {}), (FILE, {"status": 429, "body": bytes(5000)})]
)
def test_trickle_of_what_is_no_file_ends(server: DataStoreServer, search: Search, what: str, fault: dict) -> None:
    server.faults[what] = [{"trickle": 0.01, **fault}] * 9
    started = time.monotonic()
    assert "slower than 10000 bytes a second" in refused(search, replace(HASTY, total=0.6))
    assert time.monotonic() - started < 4


def test_server_that_dies_midway(server: DataStoreServer, search: Search) -> None:
    search = replace(search, workers=1)
    server.faults[FILE] = [{}, {"truncate": 900}]

    def die(done: int, _: int) -> None:
        files = server.products[ONE], server.products[TWO]
        server.dead = done >= sum(len(files[0][name]) for name in SMALL) + 900

    with pytest.raises(UserError, match="cannot be reached"):
        fetch(search, print, die, HASTY)
    assert names(search.out) == [ONE]
    before, server.dead = len(server.seen), False
    assert run(search)[0] == 2
    size = len(server.products[TWO][FILE])
    asked = [(name, range_) for name, range_ in server.seen[before:] if name != "token"]
    assert asked == [(FILE, f"bytes=900-{size - 1}"), ("S8_BT_in.nc", None), ("viscal.nc", None)]
    assert all(whole(search.out, id, files) for id, files in server.products.items())


def test_killed_process_leaves_no_final_name(server: DataStoreServer, search: Search) -> None:
    server.products = {ONE: product(1, SMALL)}
    code = (
        "import os, sys; from pathlib import Path; from benchmark.sources import Search\n"
        "from datasets._slstr_fetch import fetch\n"
        "search = Search((30, -5, 45, 12), '2021-08-27', '2021-08-27', Path(sys.argv[1]), workers=1)\n"
        "fetch(search, print, lambda done, _: os._exit(9) if done > 5000 else None)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(search.out)], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 9
    assert names(search.out) == []
    before = len(server.sent())
    assert run(search)[0] == 1
    assert server.sent()[before:] == ["viscal.nc"]
    assert whole(search.out, ONE, server.products[ONE])


def test_nothing_has_its_final_name_before_it_is_whole(server: DataStoreServer, search: Search) -> None:
    lacking: list[str] = []

    def look(*_: int) -> None:
        for folder in search.out.glob("*.SEN3"):
            lacking.extend(set(server.products[folder.name]) - {path.name for path in folder.iterdir()})

    fetch(search, print, look, HASTY)
    assert names(search.out) == [ONE, TWO]
    assert lacking == []


def test_dry_run_writes_nothing(server: DataStoreServer, search: Search) -> None:
    count, said, steps = run(replace(search, dry_run=True))
    assert (count, steps) == (2, [])
    assert not search.out.exists()
    size = sum(len(server.products[ONE][name]) for name in SMALL)
    assert f"{ONE.removesuffix('.SEN3')}  3 file(s)  {size / 1e6:.1f} MB" in said
    assert set(server.sent()) == {MANIFEST}


def test_product_made_again_is_fetched_once(server: DataStoreServer, search: Search) -> None:
    again = ONE.replace("20210827T094954", "20210828T120000").replace("_NR_", "_NT_")
    server.products[again] = product(3, SMALL)
    assert run(search)[0] == 2
    assert names(search.out) == sorted([again, TWO])


def test_what_an_earlier_fetch_left_does_not_get_into_the_product(server: DataStoreServer, search: Search) -> None:
    left = search.out / f".{ONE.removesuffix('.SEN3')}.partial" / "met_tx.nc.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"begun when all entries were asked for")
    run(search)
    assert whole(search.out, ONE, server.products[ONE])


def test_product_that_lacks_needed_files_is_told(server: DataStoreServer, search: Search) -> None:
    server.products = {ONE: product(1, tuple(name for name in NEEDED if name != FILE))}
    assert f"{ONE.removesuffix('.SEN3')} has no {FILE}" in run(search)[1]


def test_parallel_limit(server: DataStoreServer, search: Search) -> None:
    server.delay = 0.03
    run(replace(search, workers=2))
    assert server.most == 2


def test_token_refused_midway_is_renewed(server: DataStoreServer, search: Search) -> None:
    assert fetch(search, print, lambda *_: server.revoked.add("token1"), HASTY) == 2
    assert server.tokens > 1


def test_two_at_a_time(server: DataStoreServer, search: Search) -> None:
    server.delay = 0.05
    messages: list[str] = []
    first = threading.Event()

    def second() -> None:
        first.wait(5)
        messages.append(refused(search))

    thread = threading.Thread(target=second)
    thread.start()
    fetch(search, print, lambda *_: first.set() or thread.join(0.5), HASTY)
    thread.join()
    assert "another fetch is at work" in messages[0]
