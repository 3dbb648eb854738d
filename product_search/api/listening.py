"""Whether others than this machine reach the service: as the server says, and requests show."""

from __future__ import annotations

import logging
from functools import lru_cache
from ipaddress import ip_address

log = logging.getLogger(__name__)

EXPOSED = (
    "本机以外也能访问这个服务，而它不要求密钥：谁都能修改、删除商品；"
    "设 PRODUCT_SEARCH_REQUIRE_KEYS=true（README“谁可以做什么”）"
)


class Listening:
    """Addresses at which the service is reached; it warns, once, where keys should be required.

    What the server was told comes first. Behind a socket that somebody else has opened nothing is
    known of it: then the first request that came in from outside tells.
    """

    def __init__(self, *, is_open: bool) -> None:
        """Know no address yet; `is_open` says that no key is required."""
        self._is_open = is_open
        self._is_exposed = False

    @property
    def warnings(self) -> list[str]:
        """What people are told of it."""
        return [EXPOSED] if self._is_exposed else []

    def note(self, host: str | None) -> None:
        """Take an address at which it listens, or at which a connection came in."""
        if self._is_open and not self._is_exposed and host is not None and _is_beyond(host):
            self._is_exposed = True
            log.warning("%s", EXPOSED)


@lru_cache(maxsize=64)  # each request asks
def _is_beyond(host: str) -> bool:
    """Return whether others than this machine reach the address; a name may be anything."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host == ""  # to Uvicorn that is every address
    return not (getattr(address, "ipv4_mapped", None) or address).is_loopback
