"""What servers may answer with, and what costs them the fetch."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator

import pytest

from product_search.errors import Overloaded
from product_search.fetching.fetcher import FetchLimits
from product_search.images.formats import MAX_BYTES
from tests.clock import until
from tests.hostile_server import (
    Answer,
    HostileServer,
    endless,
    fetched,
    fetcher_of,
    hostile_server,
    ok,
    silence,
)
from tests.loops import run

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WITHOUT_END = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n"
READ_AT_ONCE = 64 * 1024
# However busy the machine, the whole of a good fetch takes less; what never ends is not waited for.
QUICK = FetchLimits(pause_s=60.0, whole_s=1.0)


@pytest.fixture(scope="module")
def shop() -> Iterator[HostileServer]:
    with hostile_server() as server:
        yield server


def code(shop: HostileServer, answer: Answer) -> str | None:
    shop.answers["/"] = answer
    return fetched(fetcher_of(shop), shop.url("/")).code


def test_a_whole_answer_is_taken_whatever_its_type_is_called(shop: HostileServer) -> None:
    for answer in (
        ok(b"picture", "Content-Type: text/plain"),
        ok(b"picture", "Content-Type: text/html"),
        ok(b"picture", "Content-Encoding: identity"),
        CHUNKED + b"7\r\npicture\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\npicture",
    ):
        shop.answers["/"] = answer
        outcome = fetched(fetcher_of(shop), shop.url("/"))
        assert (outcome.content, outcome.taken) == (b"picture", 7)


def test_a_page_is_told_as_one(shop: HostileServer) -> None:
    shop.answers["/"] = ok(b"\n <html>no</html>", "Content-Type: text/html; charset=utf-8")
    outcome = fetched(fetcher_of(shop), shop.url("/"))
    assert outcome.code == "invalid_image"
    assert "网页" in str(outcome.error)


@pytest.mark.parametrize("status", [204, 206, 300, 304, 401, 403, 404, 429, 500, 503])
def test_another_status_is_told(shop: HostileServer, status: int) -> None:
    shop.answers["/"] = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()
    outcome = fetched(fetcher_of(shop), shop.url("/"))
    assert outcome.code == "image_fetch_failed"
    assert str(status) in str(outcome.error)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"220 mail.example ESMTP\r\n",
        b"-ERR unknown command 'GET'\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        ok(b"picture", length=8),
        ok(b"picture", length=-1),
        ok(b"picture", length="9" * 5000),
        ok(b"picture", "Content-Length: 8"),
        CHUNKED + b"7\r\npic",
        CHUNKED + b"x\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        ok(gzip.compress(bytes(1000), mtime=0), "Content-Encoding: gzip"),
        ok(b"picture", "Content-Encoding: br"),
    ],
)
def test_an_answer_that_is_broken_or_in_disguise_is_refused(
    shop: HostileServer, answer: bytes
) -> None:
    assert code(shop, answer) == "image_fetch_failed"


def test_what_is_sent_after_the_announced_length_is_not_read(shop: HostileServer) -> None:
    shop.answers["/"] = ok(b"picture and more", length=7)
    outcome = fetched(fetcher_of(shop), shop.url("/"))
    assert (outcome.content, outcome.taken) == (b"picture", 7)


def test_a_gzip_bomb_is_never_unpacked(shop: HostileServer) -> None:
    bomb = gzip.compress(bytes(3 * MAX_BYTES))
    assert code(shop, ok(bomb, "Content-Encoding: gzip")) == "image_fetch_failed"
    shop.answers["/"] = ok(bomb)
    assert fetched(fetcher_of(shop), shop.url("/")).content == bomb


def test_what_is_announced_as_too_large_is_not_read(shop: HostileServer) -> None:
    shop.answers["/"] = ok(bytes(1000), length=MAX_BYTES + 1)
    outcome = fetched(fetcher_of(shop), shop.url("/"))
    assert (outcome.code, outcome.taken) == ("image_too_large", 0)


@pytest.mark.parametrize(
    "answer",
    [
        endless(WITHOUT_END, bytes(READ_AT_ONCE)),
        endless(CHUNKED, b"10000\r\n" + bytes(READ_AT_ONCE) + b"\r\n"),
    ],
)
def test_an_endless_body_ends_at_the_limit(shop: HostileServer, answer: Answer) -> None:
    shop.answers["/"] = answer
    outcome = fetched(fetcher_of(shop), shop.url("/"))
    assert outcome.code == "image_too_large"
    assert outcome.taken <= MAX_BYTES


@pytest.mark.parametrize(
    "answer",
    [
        endless(b"HTTP/1.1 200 OK\r\n", b"X-Much: " + b"x" * 1000 + b"\r\n"),
        endless(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 1000),
        endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100),
        endless(CHUNKED, b"1;" + b"x" * 1000 + b"\r\nx\r\n"),
        endless(CHUNKED + b"0\r\n", b"X-Trailer: x\r\n" * 100),
    ],
    ids=["headers", "header", "hints", "extensions", "trailers"],
)
def test_a_flood_that_is_no_content_is_cut_short(shop: HostileServer, answer: Answer) -> None:
    shop.answers["/"] = answer
    limits = FetchLimits(pause_s=600.0, whole_s=600.0)
    assert fetched(fetcher_of(shop, limits=limits), shop.url("/")).code == "image_fetch_failed"


def test_crumbs_are_cut_short(shop: HostileServer) -> None:
    shop.answers["/"] = endless(CHUNKED, b"20\r\n" + bytes(32) + b"\r\n")
    outcome = fetched(fetcher_of(shop), shop.url("/"))
    assert outcome.code == "image_fetch_failed"
    assert "零碎" in str(outcome.error)


@pytest.mark.parametrize(
    "answer",
    [
        endless(WITHOUT_END, b"x", 0.05),
        endless(b"HTTP/1.1 200 OK\r\n", b"X: x\r\n", 0.05),
        endless(b"", b"H", 0.05),
    ],
    ids=["body", "headers", "status"],
)
def test_a_slow_drip_has_an_end(shop: HostileServer, answer: Answer) -> None:
    shop.answers["/"] = answer
    assert fetched(fetcher_of(shop, limits=QUICK), shop.url("/")).code == "image_fetch_timeout"


def test_silence_has_an_end(shop: HostileServer) -> None:
    shop.answers["/"] = silence
    limits = FetchLimits(pause_s=0.1, whole_s=600.0)
    assert fetched(fetcher_of(shop, limits=limits), shop.url("/")).code == "image_fetch_timeout"


def test_a_resolver_that_hangs_has_an_end(shop: HostileServer) -> None:
    async def hang(_: str, __: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    fetcher = fetcher_of(shop, limits=QUICK, resolve=hang)
    assert fetched(fetcher, shop.url("/")).code == "image_fetch_timeout"


def test_only_so_many_are_fetched_at_once(shop: HostileServer) -> None:
    shop.answers["/"] = silence
    shop.answers["/good"] = ok(b"picture")
    limits = FetchLimits(pause_s=600.0, whole_s=600.0, patience_s=0.1, at_once=2)
    fetcher = fetcher_of(shop, limits=limits)

    async def take(_: int) -> None:
        pass

    async def many() -> None:
        begun = len(shop.requests)
        held = [asyncio.ensure_future(fetcher.fetch(shop.url("/"), take)) for _ in range(2)]
        await asyncio.to_thread(until, lambda: len(shop.requests) == begun + 2, "two requests")
        with pytest.raises(Overloaded):
            await fetcher.fetch(shop.url("/good"), take)
        held[0].cancel()
        await asyncio.wait(held[:1])
        assert await fetcher.fetch(shop.url("/good"), take) == b"picture"
        held[1].cancel()
        await asyncio.wait(held)

    run(many())
