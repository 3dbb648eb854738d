"""Which pages may write, and what browsers are told of those that may read."""

from __future__ import annotations

import pytest

from product_search.api.doors.origins import Origins
from product_search.errors import CrossSite

HOST = [b"127.0.0.1:8000"]
SHOP = "https://shop.example.com"
WRITING = ["POST", "PUT", "PATCH", "DELETE", "QUERY", "BREW"]


def origins(public_url: str | None = None) -> Origins:
    return Origins([SHOP], public_url, lambda: frozenset({"https://keys.example.com"}))


@pytest.mark.parametrize("method", WRITING)
@pytest.mark.parametrize(
    ("origin", "site"),
    [
        (["https://evil.example"], ["cross-site"]),
        (["https://evil.example"], []),
        (["null"], ["cross-site"]),
        (["null"], []),
        (["null"], ["same-site"]),
        ([], ["cross-site"]),
        ([], ["same-site"]),
        (["http://127.0.0.1:3000"], ["same-site"]),  # another port is another origin
        (["http://127.0.0.1:3000"], []),
        (["http://127.0.0.1"], []),
        (["http://localhost:8000"], ["cross-site"]),
        (["http://localhost:8000"], []),
        (["https://evil.example/127.0.0.1:8000"], []),
        (["https://127.0.0.1:8000@evil.example"], []),
        (["https://shop.example.com.evil.example"], []),
        (["http://shop.example.com"], []),  # the shop over http is another origin
        (["https://shop.example.com:444"], []),
        (["https://evil.example"], ["none"]),
        (["http://127.0.0.1:8000"], ["cross-site"]),
        (["http://127.0.0.1:8000"], ["same-site"]),
        (["http://127.0.0.1:8000"], ["unheard-of"]),
        (["http://127.0.0.1:8000", "https://evil.example"], []),
        ([SHOP, SHOP], ["cross-site"]),
        (["https://evil.example"], ["same-origin", "cross-site"]),
        ([], ["same-origin", "cross-site"]),
        ([""], []),
        (["file://"], []),
        (["chrome-extension://127.0.0.1:8000"], []),
    ],
)
def test_a_page_of_another_site_writes_nothing(
    method: str, origin: list[str], site: list[str]
) -> None:
    with pytest.raises(CrossSite, match="PRODUCT_SEARCH_CORS_ORIGINS"):
        check(origins(), method, origin, site)


@pytest.mark.parametrize("method", WRITING)
@pytest.mark.parametrize(
    ("origin", "site"),
    [
        ([], []),  # no browser
        ([], ["none"]),  # whoever uses the browser
        ([], ["same-origin"]),
        (["http://127.0.0.1:8000"], []),
        (["https://127.0.0.1:8000"], []),  # behind a proxy that speaks TLS
        (["http://127.0.0.1:8000"], ["same-origin"]),
        (["https://public.example.com"], ["same-origin"]),  # behind one that changes Host
        ([SHOP], ["cross-site"]),
        ([SHOP], ["same-site"]),
        ([SHOP], []),
        (["https://keys.example.com"], ["cross-site"]),
    ],
)
def test_programs_own_pages_and_allowed_ones_write(
    method: str, origin: list[str], site: list[str]
) -> None:
    check(origins(), method, origin, site)


def test_the_public_address_is_an_own_one() -> None:
    check(origins("https://public.example.com/api/"), "POST", ["https://public.example.com"], [])
    with pytest.raises(CrossSite):
        check(origins("https://other.example.com"), "POST", ["https://public.example.com"], [])


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reading_is_no_writing(method: str) -> None:
    check(origins(), method, ["https://evil.example"], ["cross-site"])


@pytest.mark.parametrize(
    "origin", ["null", "https://evil.example", "http://127.0.0.1:8000", "*", ""]
)
def test_browsers_let_no_other_page_read(origin: str) -> None:
    assert origins().told(origin.encode()) == []
    with pytest.raises(CrossSite):
        origins().preflight([origin.encode()])


def test_browsers_let_allowed_pages_read_and_never_all_of_them() -> None:
    told = dict(origins().told(SHOP.encode()))
    assert told[b"access-control-allow-origin"] == SHOP.encode()
    assert b"retry-after" in told[b"access-control-expose-headers"]
    assert b"access-control-allow-credentials" not in told
    assert (
        b"authorization"
        in dict(origins().preflight([SHOP.encode()]))[b"access-control-allow-headers"]
    )


def test_the_origins_of_keys_come_and_go() -> None:
    of_keys: set[str] = set()
    some = Origins(of_keys=lambda: of_keys)
    assert some.told(SHOP.encode()) == []
    of_keys.add(SHOP)
    assert some.told(SHOP.encode()) != []
    of_keys.clear()
    with pytest.raises(CrossSite):
        check(some, "POST", [SHOP], [])


def check(some: Origins, method: str, origin: list[str], site: list[str]) -> None:
    some.check(method, HOST, [one.encode() for one in origin], [one.encode() for one in site])
