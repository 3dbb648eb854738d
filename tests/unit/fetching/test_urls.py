"""URLs of pictures: what is read, what is refused."""

from __future__ import annotations

import pytest

from product_search.fetching.errors import ImageUrlRefused
from product_search.fetching.urls import Url, join, parse

BASE = parse("https://shop.example/a/b.jpg?x=1")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://shop.example", Url("http", "shop.example", 80, "/")),
        ("HTTPS://Shop.Example:443/A?b#c", Url("https", "shop.example", 443, "/A?b")),
        ("https://shop.example:8443?b", Url("https", "shop.example", 8443, "/?b")),
        ("http://shop.example/红.jpg", Url("http", "shop.example", 80, "/%E7%BA%A2.jpg")),
        ("http://shop.example/%E7%BA%A2", Url("http", "shop.example", 80, "/%E7%BA%A2")),
        ("http://xn--fiqs8s.example/", Url("http", "xn--fiqs8s.example", 80, "/")),
        ("http://my_bucket.example/", Url("http", "my_bucket.example", 80, "/")),
        ("http://93.184.216.34/", Url("http", "93.184.216.34", 80, "/")),
        (
            "http://[2606:2800:220:0001:0::1]:80/",
            Url("http", "2606:2800:220:1::1", 80, "/"),
        ),
    ],
)
def test_a_url_is_read_in_its_parts(text: str, url: Url) -> None:
    assert parse(text) == url
    assert parse(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shop.example/a.jpg",
        "//shop.example/a.jpg",
        "http:/shop.example",
        "http:shop.example",
        "http://",
        "http:///a.jpg",
        "file:///etc/passwd",
        "file://shop.example/etc/passwd",
        "gopher://shop.example/_GET",
        "ftp://shop.example/a.jpg",
        "data:image/png;base64,AAAA",
        "javascript://shop.example/",
        "jar:http://shop.example!/a",
        "url:http://shop.example/",
        "http+unix://%2Fvar%2Frun%2Fx.sock/",
        # Who is asked?
        "http://user@shop.example/",
        "http://user:password@shop.example/",
        "http://shop.example@127.0.0.1/",
        "http://shop.example:80@127.0.0.1/",
        "http://shop.example\\@127.0.0.1/",
        "http://127.0.0.1\\@shop.example/",
        "http://shop.example%40127.0.0.1/",
        "http://shop.example#@127.0.0.1/" + " ",
        # Other ways to write an address.
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://017700000001/",
        "http://127.1/",
        "http://127.0.0.01/",
        "http://127.0.0.1./",
        "http://127.0.0.1.5/",
        "http://1.0x/",
        "http://[127.0.0.1]/",
        "http://[::1/",
        "http://::1/",
        "http://[::1%25lo]/",
        "http://[::1%lo]/",
        "http://[fe80::1%25eth0]/",
        "http://[v1.x]/",
        # Names that are none, or not of one meaning.
        "http://localhost/",
        "http://shop/",
        "http://shop.example./",
        "http://.shop.example/",
        "http://shop..example/",
        "http://-shop.example/",
        "http://shop-.example/",
        f"http://{'a' * 64}.example/",
        f"http://{'a.' * 130}example/",
        "http://商店.example/",
        "http://shop。example/",
        "http://ⓢhop.example/",
        "http://shop.example\u200b/",
        "http://*.shop.example/",
        "http://shop%2eexample/",
        # Ports.
        "http://shop.example:/",
        "http://shop.example:0/",
        "http://shop.example:65536/",
        "http://shop.example:-80/",
        "http://shop.example:８０/",
        "http://shop.example:80:80/",
        # What some drop, and others take for an end.
        " http://shop.example/",
        "http://shop.example/a b",
        "http://shop.example/a\tb",
        "http://shop.example/\r\nHost: other",
        "ht\ntp://shop.example/",
        "http://shop.example/\x00",
        "http://shop.example/\u3000",
        "http://shop.example/\u2028",
        "http://shop.example/\udc80",
        "http://shop.example\\a",
        "http://shop.example/" + "a" * 4096,
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(ImageUrlRefused):
        parse(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ftp://shop.example/", "http://"),
        ("http://user@shop.example/", "用户名"),
        ("http://商店.example/", "xn--"),
        ("http://127.1/", "IP 地址"),
        ("http://localhost/", "域名"),
        ("http://shop.example:0/", "端口"),
        ("http://shop.example/a b", "空格"),
    ],
)
def test_a_refusal_says_why(text: str, reason: str) -> None:
    with pytest.raises(ImageUrlRefused, match=reason):
        parse(text)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/c.jpg", "https://shop.example/c.jpg"),
        ("c.jpg", "https://shop.example/a/c.jpg"),
        ("?y", "https://shop.example/a/b.jpg?y"),
        ("//other.example/c", "https://other.example/c"),
        ("http://other.example:8080/c", "http://other.example:8080/c"),
    ],
)
def test_a_redirect_leads_to_an_absolute_url(location: str, url: str) -> None:
    assert str(join(BASE, location)) == url


@pytest.mark.parametrize(
    "location",
    ["//user@other.example/", "http://[x]/", "file:///a", "http:other.example", "/a\tb", "\\\\x.y"],
)
def test_a_redirect_is_read_as_strictly(location: str) -> None:
    with pytest.raises(ImageUrlRefused):
        join(BASE, location)


def test_a_usual_port_is_not_said() -> None:
    assert parse("https://shop.example:443/").authority == "shop.example"
    assert parse("https://shop.example:80/").authority == "shop.example:80"
    assert parse("http://[2606:2800:220:1::1]:81/").authority == "[2606:2800:220:1::1]:81"
