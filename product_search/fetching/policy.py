"""From where pictures may be fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from product_search.fetching.addresses import Address, is_public
from product_search.fetching.errors import ImageUrlRefused
from product_search.fetching.urls import PORTS, Url, parse, refused

_USUAL_PORTS = frozenset(PORTS.values())
_ANY_NAME = "*."


@dataclass(frozen=True)
class Hosts:
    """A host that may be asked, or all names below one, at the usual ports or at its own.

    Attributes:
        name: the host; of a name, or below it.
        ports: at which it may be asked.
        is_above: whether the names below it are meant, and not itself.
    """

    name: str
    ports: frozenset[int]
    is_above: bool

    @classmethod
    def parse(cls, text: str) -> Hosts:
        """Return what `img.example.com`, `*.example.com` or `img.example.com:8443` says.

        Raises:
            ValueError: it is none of these.
        """
        bare = text.removeprefix(_ANY_NAME)
        try:
            url = parse(f"http://{bare}/")
        except ImageUrlRefused as error:
            raise ValueError(f"{text}：{error.message}") from error
        if url.target != "/" or (url.address and bare != text):
            raise ValueError(f"{text}：应为域名、*.域名，可带 :端口")
        has_port = bare.rpartition(":")[2].isdecimal() and not bare.endswith("]")
        ports = frozenset({url.port}) if has_port else _USUAL_PORTS
        return cls(url.host, ports, is_above=bare != text)

    def include(self, url: Url) -> bool:
        """Return whether the URL's host and port are among these."""
        is_named = url.host.endswith(f".{self.name}") if self.is_above else url.host == self.name
        return is_named and url.port in self.ports


@dataclass(frozen=True)
class Policy:
    """What may be asked for a picture.

    Attributes:
        hosts: that may be asked; where there are none, all, at the usual ports.
        allows: tells of an address whether it may be asked; no setting changes it.
    """

    hosts: tuple[Hosts, ...] = ()
    allows: Callable[[Address], bool] = is_public

    def check(self, url: Url) -> None:
        """Raise ImageUrlRefused for a URL whose host or port may not be asked."""
        if self.hosts:
            if not any(hosts.include(url) for hosts in self.hosts):
                raise refused("主机不在 PRODUCT_SEARCH_FETCH_HOSTS 所列之中")
        elif url.port not in _USUAL_PORTS:
            raise refused("端口只能是 80 或 443；其他的须列在 PRODUCT_SEARCH_FETCH_HOSTS 中")

    def checked(self, addresses: Iterable[str]) -> list[Address]:
        """Return the addresses, of which each may be asked.

        One that may not be condemns all: a name for strangers has public addresses alone.

        Raises:
            ImageUrlRefused: one may not be asked, or there are none; it doesn't tell which.
        """
        found = list(dict.fromkeys(map(ip_address, addresses)))
        if not found or not all(self.allows(address) for address in found):
            raise no_address()
        return found


def no_address() -> ImageUrlRefused:
    """Return the error of a host that is not there, or not for strangers: it doesn't tell which."""
    return refused("主机没有公网地址")
