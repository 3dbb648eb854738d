"""Host names, and origins of web pages, as settings and requests give them."""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_MAX_NAME = 253  # characters: DNS's
_DEFAULT_PORTS = {"http": 80, "https": 443}


def host_pattern(text: str) -> str:
    """Return a host name, or `*.` and a domain for all names below it, as it is compared.

    That is in lower case, in ASCII (xn--…), without the dot at its end.

    Raises:
        ValueError: it is no host name; it has a scheme, a port or a path, for instance.
    """
    name = text.strip().lower().removesuffix(".")
    bare = _ascii(name.removeprefix("*."))
    if not is_host_name(bare):
        raise ValueError(
            f"{text[:100]!r} 不是主机名：应形如 shop.example.com 或 *.example.com（其下所有名字），"
            "不含 http://、端口和路径；IP 地址无需列出"
        )
    return f"*.{bare}" if name.startswith("*.") else bare


def is_host_name(text: str) -> bool:
    """Return whether this is a host name, in lower case and ASCII."""
    return len(text) <= _MAX_NAME and _NAME.fullmatch(text) is not None


def page_origin(text: str) -> str:
    """Return an origin as browsers write it: `https://shop.example.com`, `http://[::1]:3000`.

    Raises:
        ValueError: it is no origin of a web page; it has a path, for instance, or is `*`.
    """
    bare = text.strip().removesuffix("/")
    origin = origin_of(bare)
    if origin is None or bare.count("/") > 2 or "?" in bare or "#" in bare:
        raise ValueError(
            f"{text[:100]!r} 不是网页的来源：应形如 https://shop.example.com 或 "
            "http://localhost:3000，不含路径，不能是 *"
        )
    return origin


def origin_of(url: str) -> str | None:
    """Return the origin of what is at an http(s) address; None where this is no such address."""
    with suppress(ValueError):  # a bad port, or brackets around no address
        parts = urlsplit(url)
        host = _host(parts.hostname or "")
        if host is None or parts.scheme not in _DEFAULT_PORTS or "@" in parts.netloc:
            return None
        if parts.port in (None, _DEFAULT_PORTS[parts.scheme]):
            return f"{parts.scheme}://{host}"
        return f"{parts.scheme}://{host}:{parts.port}"
    return None


def host_of(url: str) -> str | None:
    """Return the host of an address; None where there is none."""
    with suppress(ValueError):
        return _host(urlsplit(url).hostname or "")
    return None


def _host(name: str) -> str | None:
    """Return the host as URLs have it; None where it is neither a name nor an address."""
    with suppress(ValueError):
        address = ip_address(name)
        return f"[{address}]" if isinstance(address, IPv6Address) else str(address)
    name = _ascii(name.lower())
    return name if is_host_name(name) else None


def _ascii(name: str) -> str:
    with suppress(UnicodeError):
        return name.encode("idna").decode("ascii")
    return ""
