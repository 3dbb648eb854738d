"""Who is asked for a picture: the address that was checked, and nobody else."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from typing import Any, NoReturn

import httpcore
import pytest
import trustme

from product_search.fetching.fetcher import Fetcher
from product_search.fetching.policy import Policy
from tests.hostile_server import (
    AUTHORITIES,
    HOST,
    NAME,
    HostileServer,
    Names,
    Network,
    fetched,
    fetcher_of,
    hostile_server,
    ok,
    redirect,
)
from tests.loops import run
from tests.unit.fetching.test_policy import NOT_PUBLIC

METADATA = "169.254.169.254"


class NoNetwork(httpcore.AsyncNetworkBackend):
    """A network on which nobody may connect."""

    async def connect_tcp(self, *args: Any, **options: Any) -> NoReturn:
        """Fail."""
        raise AssertionError(f"a connection to {args or options}")


@pytest.fixture(scope="module")
def shop() -> Iterator[HostileServer]:
    with hostile_server() as server:
        server.answers["/"] = ok(b"picture")
        yield server


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def secured(authority: trustme.CA) -> Iterator[tuple[HostileServer, list[str | None]]]:
    """A server for shop.test over TLS, and the names that it was asked by."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(context)
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    with hostile_server(context) as server:
        server.answers["/"] = ok(b"picture")
        yield server, asked


@pytest.mark.parametrize("address", [*NOT_PUBLIC, None])
def test_a_name_without_a_public_address_is_refused_before_any_connection(
    address: str | None,
) -> None:
    names = Names({} if address is None else {NAME: ["93.184.216.34", address]})
    fetcher = Fetcher(Policy(), resolve=names, network=NoNetwork(), certificates=AUTHORITIES)
    outcome = fetched(fetcher, f"http://{NAME}/")
    assert outcome.code == "image_url_refused"
    assert str(address) not in str(outcome.error)
    assert names.asked == [NAME]


@pytest.mark.parametrize("address", [one for one in NOT_PUBLIC if "%" not in one])
def test_an_address_that_is_not_public_is_refused_before_any_connection(address: str) -> None:
    names = Names({})
    fetcher = Fetcher(Policy(), resolve=names, network=NoNetwork(), certificates=AUTHORITIES)
    host = f"[{address}]" if ":" in address else address
    assert fetched(fetcher, f"http://{host}/").code == "image_url_refused"
    assert names.asked == []


def test_the_address_that_was_checked_is_asked_by_the_name(shop: HostileServer) -> None:
    addresses = iter([[HOST], ["127.0.0.1"]])
    network, names = Network(), Names({NAME: addresses})
    fetcher = fetcher_of(shop, resolve=names, network=network)
    assert fetched(fetcher, shop.url("/")).content == b"picture"
    assert (names.asked, network.connected) == ([NAME], [HOST])
    assert f"Host: {NAME}:{shop.port}\r\n".encode() in shop.requests[-1]


def test_a_name_that_changes_is_checked_anew_after_a_redirect(shop: HostileServer) -> None:
    shop.answers["/again"] = redirect("/")
    network = Network()
    names = Names({NAME: iter([[HOST], ["127.0.0.1"]])})
    outcome = fetched(fetcher_of(shop, resolve=names, network=network), shop.url("/again"))
    assert (outcome.code, network.connected) == ("image_url_refused", [HOST])
    assert names.asked == [NAME, NAME]


def test_the_next_address_is_asked_where_one_does_not_answer(shop: HostileServer) -> None:
    # Nobody listens there: an address of the documentation's, held for public.
    class Half(Network):
        async def connect_tcp(self, host: str, *args: Any, **options: Any) -> Any:
            if host != HOST:
                self.connected.append(host)
                raise httpcore.ConnectError
            return await super().connect_tcp(host, *args, **options)

    network, names = Half(), Names({NAME: ["2606:2800:220:1::1", "93.184.216.34", HOST]})
    outcome = fetched(fetcher_of(shop, resolve=names, network=network), shop.url("/"))
    assert outcome.content == b"picture"
    assert network.connected == ["2606:2800:220:1::1", "93.184.216.34", HOST]


def test_it_asks_as_nobody_and_by_itself(
    shop: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    shop.answers["/first"] = redirect("/second", "Set-Cookie: a=b; Path=/")
    shop.answers["/second"] = ok(b"picture")
    begun = len(shop.requests)
    assert fetched(fetcher_of(shop), shop.url("/first?key=secret")).code is None
    for request in shop.requests[begun:]:
        names = {line.partition(b":")[0].lower() for line in request.split(b"\r\n")[1:-2]}
        assert names == {b"host", b"user-agent", b"accept", b"accept-encoding", b"connection"}
        assert b"Accept-Encoding: identity\r\n" in request


def test_the_certificate_is_that_of_the_name(
    secured: tuple[HostileServer, list[str | None]], authority: trustme.CA
) -> None:
    shop, asked = secured
    names = Names({NAME: [HOST], f"other.{NAME}": [HOST]})
    fetcher = fetcher_of(shop, resolve=names, certificates=trusting(authority))
    assert fetched(fetcher, shop.url("/", "https")).content == b"picture"
    assert asked == [NAME]
    other = shop.url("/", "https", f"other.{NAME}")
    assert fetched(fetcher, other).code == "image_fetch_failed"
    assert fetched(fetcher, shop.url("/", "https", HOST)).code == "image_fetch_failed"


def test_a_certificate_of_nobodys_is_refused(
    secured: tuple[HostileServer, list[str | None]],
) -> None:
    shop, _ = secured
    assert fetched(fetcher_of(shop), shop.url("/", "https")).code == "image_fetch_failed"
    assert shop.requests == []


def test_https_never_leads_to_http(
    secured: tuple[HostileServer, list[str | None]], shop: HostileServer, authority: trustme.CA
) -> None:
    safe, _ = secured
    safe.answers["/down"] = redirect(shop.url("/"))
    shop.answers["/up"] = redirect(safe.url("/", "https"))
    begun = len(shop.requests)
    fetcher = fetcher_of(shop, safe, certificates=trusting(authority))
    assert fetched(fetcher, safe.url("/down", "https")).code == "image_url_refused"
    assert len(shop.requests) == begun
    assert fetched(fetcher, shop.url("/up")).content == b"picture"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", METADATA, "[::1]", "[fd00:ec2::254]", "[::ffff:127.0.0.1]", "10.0.0.1"]
)
def test_a_redirect_to_an_address_inside_is_refused(shop: HostileServer, host: str) -> None:
    shop.answers["/inside"] = redirect(shop.url("/", host=host))
    network = Network()
    fetcher = fetcher_of(shop, also=[host], network=network)
    outcome = fetched(fetcher, shop.url("/inside"))
    assert (outcome.code, network.connected) == ("image_url_refused", [HOST])


def test_a_redirect_to_a_name_inside_is_refused(shop: HostileServer) -> None:
    inside = f"inside.{NAME}"
    shop.answers["/inside"] = redirect(shop.url("/", host=inside))
    network, names = Network(), Names({NAME: [HOST], inside: [HOST, METADATA]})
    outcome = fetched(fetcher_of(shop, resolve=names, network=network), shop.url("/inside"))
    assert (outcome.code, network.connected) == ("image_url_refused", [HOST])


def test_a_redirect_to_a_host_that_is_not_listed_is_refused(shop: HostileServer) -> None:
    shop.answers["/away"] = redirect("http://elsewhere.example/")
    names = Names({NAME: [HOST], "elsewhere.example": [HOST]})
    assert fetched(fetcher_of(shop, resolve=names), shop.url("/away")).code == "image_url_refused"
    assert names.asked == [NAME]


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "ftp://shop.test/a.jpg",
        "data:image/png;base64,AAAA",
        "//shop.test@127.0.0.1/",
        "http://shop.test@127.0.0.1/",
        "http://127.1/",
        "http://shop.test:22/",
        "http://[x]/",
        "/a\tb",
    ],
)
def test_a_redirect_is_checked_as_the_first_url_is(shop: HostileServer, location: str) -> None:
    shop.answers["/odd"] = redirect(location)
    network = Network()
    outcome = fetched(fetcher_of(shop, network=network), shop.url("/odd"))
    assert (outcome.code, network.connected) == ("image_url_refused", [HOST])


def test_three_redirects_are_followed_and_no_more(shop: HostileServer) -> None:
    for step in range(4):
        shop.answers[f"/{step}"] = redirect(f"/{step - 1}" if step else "/")
    assert fetched(fetcher_of(shop), shop.url("/2")).content == b"picture"
    assert fetched(fetcher_of(shop), shop.url("/3")).code == "image_fetch_failed"
    shop.answers["/loop"] = redirect("/loop")
    begun = len(shop.requests)
    assert fetched(fetcher_of(shop), shop.url("/loop")).code == "image_fetch_failed"
    assert shop.paths[begun:] == ["/loop"] * 4


def test_without_a_policy_nothing_is_fetched() -> None:
    names = Names({NAME: ["93.184.216.34"]})
    outcome = fetched(Fetcher(None, resolve=names, network=NoNetwork()), f"http://{NAME}/")
    assert (outcome.code, names.asked) == ("image_url_disabled", [])
    assert "PRODUCT_SEARCH_FETCH_IMAGES" in str(outcome.error)


def test_a_client_that_gives_up_ends_its_fetch(shop: HostileServer) -> None:
    async def take(_: int) -> None:
        raise AssertionError("nothing comes")

    async def give_up(fetcher: Fetcher) -> None:
        task = asyncio.ensure_future(fetcher.fetch(shop.url("/"), take))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    fetcher = fetcher_of(shop)
    run(give_up(fetcher))
    assert fetched(fetcher, shop.url("/")).content == b"picture"
