"""For which host a request may be: no name that somebody else's DNS points here."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from product_search.errors import HostNotAllowed, InvalidHost
from product_search.schemas.addresses import host_of, is_host_name

# Brackets around an IPv6 address, or a name; then a port.
_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{0,5})?")
_MAX_KNOWN = 1000
_MAX_SHOWN = 100  # characters


class Hosts:
    """The hosts that requests may name.

    An IP address always may be named: pages reach it by no DNS of theirs. So may `localhost`,
    names below it, and this machine's own.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        """Take further names, each as `addresses.host_pattern` returns it."""
        every = {"localhost", "*.localhost", socket.gethostname().lower(), *names}
        self._names = {name for name in every if not name.startswith("*.")}
        self._domains = tuple(name[1:] for name in every if name.startswith("*."))
        self._known: set[bytes] = set()  # values of the header that were allowed

    def learn_full_name(self) -> None:
        """Add this machine's name with its domain, once it is known.

        That may take as long as DNS does, which is not waited for.
        """
        threading.Thread(target=self._learn_full_name, name="full-host-name", daemon=True).start()

    def check(self, values: Sequence[bytes], http_version: str) -> None:
        """Let a request pass, by its Host headers.

        Raises:
            InvalidHost: there is none, more than one, or no host in it.
            HostNotAllowed: the name is none of this service's.
        """
        if len(values) == 1 and values[0] in self._known:
            return
        if not values and http_version == "1.0":  # which has no such header, and no browsers
            return
        if len(values) != 1:
            raise InvalidHost(InvalidHost.example)
        self._check_host(values[0].decode("latin-1"))
        if len(self._known) < _MAX_KNOWN:
            self._known.add(values[0])

    def _check_host(self, value: str) -> None:
        parts = _HOST.fullmatch(value)
        if parts is None:
            raise InvalidHost(InvalidHost.example)
        name = (parts["v6"] or parts["name"]).lower().removesuffix(".")
        if _is_address(name):
            return
        if parts["v6"] or not is_host_name(name):
            raise InvalidHost(InvalidHost.example)
        if name not in self._names and not name.endswith(self._domains):
            raise HostNotAllowed(
                f"主机名 {name[:_MAX_SHOWN]!r} 不属于本服务：要用它访问，"
                "请把它加入设置 PRODUCT_SEARCH_ALLOWED_HOSTS（用逗号分隔）"
            )

    def _learn_full_name(self) -> None:
        self._names.add(socket.getfqdn().lower())


def open_hosts(names: Iterable[str], urls: Iterable[str | None]) -> Hosts:
    """Return the hosts of these names and addresses, and soon of this machine's full name.

    Args:
        names: as `addresses.host_pattern` returns them.
        urls: addresses of this service's own; None for what is not set.
    """
    own = [name for url in urls if url and (name := host_of(url))]
    hosts = Hosts([*names, *own])
    hosts.learn_full_name()
    return hosts


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
