"""Host names and origins as settings give them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from product_search.schemas.addresses import host_of, host_pattern, origin_of, page_origin
from product_search.settings import Settings


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Shop.Example.com", "shop.example.com"),
        (" shop.example.com. ", "shop.example.com"),
        ("*.Example.com", "*.example.com"),
        ("api", "api"),
        ("my_api", "my_api"),
        ("商店.cn", "xn--czrs0t.cn"),
    ],
)
def test_a_host_name_is_kept_as_requests_name_it(given: str, kept: str) -> None:
    assert host_pattern(given) == kept


@pytest.mark.parametrize(
    "given",
    ["", "*", "*.", "*.*.example.com", "a*.example.com", "http://shop.example.com", "shop:8000",
     "shop/x", "a b", "user@shop", "[::1]", ".example.com", "a..b", "-a.example.com", "a" * 300],
)  # fmt: skip
def test_what_is_no_host_name_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="不是主机名"):
        host_pattern(given)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://Shop.Example.com", "https://shop.example.com"),
        ("HTTPS://shop.example.com:443/", "https://shop.example.com"),
        ("http://shop.example.com:80", "http://shop.example.com"),
        ("http://shop.example.com:443", "http://shop.example.com:443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://[0:0::1]", "http://[::1]"),
        ("http://127.0.0.1:5500", "http://127.0.0.1:5500"),
        ("https://商店.cn", "https://xn--czrs0t.cn"),
    ],
)
def test_an_origin_is_kept_as_browsers_write_it(given: str, kept: str) -> None:
    assert page_origin(given) == kept


@pytest.mark.parametrize(
    "given",
    ["", "*", "null", "https://*", "https://*.example.com", "shop.example.com", "//shop",
     "ftp://shop.example.com", "file:///tmp", "https://", "https://shop.example.com/shop",
     "https://shop.example.com//", "https://shop.example.com?x", "https://shop.example.com#x",
     "https://user@shop.example.com", "https://shop.example.com:port", "https://[::1",
     "https://shop.example.com:99999", "https://a b", "https://shop.example.com\\x"],
)  # fmt: skip
def test_what_is_no_origin_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="不是网页的来源"):
        page_origin(given)


def test_an_address_has_a_host_and_an_origin() -> None:
    assert host_of("http://API:8000/v1?x") == "api"
    assert origin_of("http://API:8000/v1?x") == "http://api:8000"
    for wrong in ("", "api:8000", "http://", "http://[::1"):
        assert host_of(wrong) is None
        assert origin_of(wrong) is None


def test_settings_take_lists_that_commas_separate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRODUCT_SEARCH_ALLOWED_HOSTS", "Shop.example.com, *.example.org,")
    monkeypatch.setenv("PRODUCT_SEARCH_CORS_ORIGINS", "https://shop.example.com/")
    chosen = Settings(_env_file=None)
    assert chosen.allowed_hosts == ("shop.example.com", "*.example.org")
    assert chosen.cors_origins == ("https://shop.example.com",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allowed_hosts", "*"),
        ("allowed_hosts", "shop.example.com,http://other"),
        ("cors_origins", "*"),
        ("cors_origins", "null"),
        ("cors_origins", "https://shop.example.com,*"),
        ("rate_limit", "100"),
        ("rate_limit", "0/minute"),
        ("rate_limit", "100/fortnight"),
    ],
)
def test_a_wrong_list_or_limit_is_refused_at_once(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"PRODUCT_SEARCH_{name.upper()}", value)
    with pytest.raises(ValidationError):
        Settings(_env_file=None)
