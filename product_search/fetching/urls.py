"""URLs of pictures, read strictly: what two programs might read differently is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote, urljoin

from product_search.fetching.addresses import Address
from product_search.fetching.errors import ImageUrlRefused
from product_search.schemas.fields import MAX_URL

PORTS = {"http": 80, "https": 443}
_MAX_NAME = 253
_PARTS = re.compile(r"([^/?#]*)([^#]*)(?:#.*)?")
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]+))(?::([0-9]{1,5}))?")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}")
# A name that ends so is an IPv4 address to browsers and to system libraries.
_ENDS_AS_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_ASCII = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True)
class Url:
    """An http or https URL in its parts.

    Attributes:
        scheme: `http` or `https`.
        host: a name in small letters, or an address without brackets.
        port: the one that is asked, whether it was given or not.
        target: the path and the query, percent-encoded.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def address(self) -> Address | None:
        """The host where it is an address; None where it is a name."""
        if ":" in self.host:
            return IPv6Address(self.host)
        return IPv4Address(self.host) if _ENDS_AS_NUMBER.fullmatch(self.host) else None

    @property
    def authority(self) -> str:
        """The host as the header of the request has it, with its port where that is not usual."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        """Return the URL."""
        return f"{self.scheme}://{self.authority}{self.target}"


def parse(text: str) -> Url:
    """Return the parts of a URL. Raises ImageUrlRefused, which says why."""
    _check_text(text)
    scheme, mark, rest = text.partition("://")
    scheme = scheme.lower()
    parts = _PARTS.fullmatch(rest)
    if not mark or scheme not in PORTS or parts is None:
        raise refused("只取 http:// 与 https:// 开头的地址")
    authority, target = parts.groups()
    if "@" in authority:
        raise refused("不能带用户名与密码")
    host, port = _host(authority)
    target = quote(target if target.startswith("/") else f"/{target}", safe=_ASCII)
    return Url(scheme, host, PORTS[scheme] if port is None else port, target)


def join(base: Url, location: str) -> Url:
    """Return where a redirect from the base leads. Raises ImageUrlRefused."""
    _check_text(location)
    try:
        return parse(urljoin(str(base), location))
    except ValueError as error:  # brackets that enclose no address
        raise refused("重定向到的地址有误") from error


def refused(reason: str) -> ImageUrlRefused:
    """Return the error with this reason."""
    return ImageUrlRefused(f"图片地址被拒绝：{reason}")


def _check_text(text: str) -> None:
    """Raise ImageUrlRefused for what some readers of URLs drop, fold or take for another sign."""
    if len(text) > MAX_URL:
        raise refused(f"最多 {MAX_URL} 个字符")
    if any(not char.isprintable() or char.isspace() or char == "\\" for char in text):
        raise refused("不能含空格、控制字符或反斜线")


def _host(authority: str) -> tuple[str, int | None]:
    """Return the host, and the port where one is given."""
    if not authority.isascii():
        raise refused("域名应写成 ASCII（xn--…）")
    match = _HOST.fullmatch(authority)
    if match is None:
        raise refused("主机或端口的写法有误")
    literal, name, digits = match.groups()
    port = None if digits is None else int(digits)
    if port is not None and not 0 < port < 1 << 16:
        raise refused("端口有误")
    try:
        if literal is not None:
            return str(IPv6Address(literal)), port
        host = name.lower()
        if _ENDS_AS_NUMBER.fullmatch(host):
            return str(IPv4Address(host)), port
    except AddressValueError as error:
        raise refused(
            "IP 地址的写法有误，应为 93.184.216.34 或 [2606:2800:220:1::1] 这样"
        ) from error
    if len(host) > _MAX_NAME or _NAME.fullmatch(host) is None:
        raise refused("主机不是完整的域名")
    return host, port
