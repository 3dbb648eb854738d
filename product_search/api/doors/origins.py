"""Pages of other sites: which may write or read here, and what their browsers are told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from product_search.errors import CrossSite
from product_search.schemas.addresses import origin_of

Headers = list[tuple[bytes, bytes]]

_READING = {"GET", "HEAD", "OPTIONS"}
_MAX_SHOWN = 100  # characters
# Ten minutes: as long may a browser go on that an origin is allowed which no longer is.
_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, PATCH, DELETE"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, if-none-match, traceparent, x-request-id",
    ),
    (b"access-control-max-age", b"600"),
]
_EXPOSED = (b"access-control-expose-headers", b"retry-after, x-request-id")


class Origins:
    """The origins whose pages may read answers and write; by default none but the service's own."""

    def __init__(
        self,
        allowed: Iterable[str] = (),
        public_url: str | None = None,
        of_keys: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """Take the origins that a setting allows, and those that keys allow at the moment.

        Args:
            allowed: as `addresses.page_origin` returns them.
            public_url: the service as visitors' browsers reach it: an address of its own.
            of_keys: returns origins of the same form; it is asked at each request that has one.
        """
        self._allowed = frozenset(allowed)
        self._own = origin_of(public_url) if public_url else None
        self._of_keys = of_keys

    def allows(self, origin: str) -> bool:
        """Return whether pages of this origin may read answers."""
        return origin in self._allowed or origin in self._of_keys()

    def check(
        self, method: str, host: Sequence[bytes], origins: Sequence[bytes], site: Sequence[bytes]
    ) -> None:
        """Let a request pass that no page of another site has sent, or that may be sent by it.

        Whatever reads passes: what browsers show to the page is for its answer to say. Programs
        send neither header.

        Args:
            method: HTTP's.
            host: the request's headers of this name, as the three that follow.
            origins: `Origin`.
            site: `Sec-Fetch-Site`, which browsers send to https and to this machine alone.

        Raises:
            CrossSite: the request would write, and comes from elsewhere.
        """
        if method in _READING or not (origins or site):
            return
        origin = _text(origins)
        if origin is not None and self.allows(origin):
            return
        if len(origins) <= 1 and self._is_from_here(origin, host, site):
            return
        raise refusal(origin)

    def preflight(self, origins: Sequence[bytes]) -> Headers:
        """Return what a browser is told that asks whether a page may send a request.

        Raises:
            CrossSite: it may not.
        """
        origin = _text(origins)
        if origin is None or not self.allows(origin):
            raise refusal(origin)
        return _PREFLIGHT

    def told(self, origin: bytes | None) -> Headers:
        """Return what an answer says to the browser of a page of this origin."""
        if origin is None or not self.allows(origin.decode("latin-1")):
            return []
        return [(b"access-control-allow-origin", origin), _EXPOSED]

    def _is_from_here(
        self, origin: str | None, host: Sequence[bytes], site: Sequence[bytes]
    ) -> bool:
        """Return whether no page has sent the request, or one of the service's own."""
        if list(site) == [b"same-origin"]:  # also behind a proxy that changes Host
            return True
        if site and list(site) != [b"none"]:  # none: no page, but whoever uses the browser
            return False
        if origin is None or origin == self._own:
            return True
        scheme, _, place = origin.partition("://")
        return scheme in ("http", "https") and place == (_text(host) or "").lower() != ""


def refusal(origin: str | None) -> CrossSite:
    """Return the error that a page of this origin gets; None where it is not told."""
    shown = "未知" if origin is None else repr(origin[:_MAX_SHOWN])
    return CrossSite(
        f"来自其他网站 {shown} 的请求：要允许它，"
        "请把它的来源加入设置 PRODUCT_SEARCH_CORS_ORIGINS（用逗号分隔）"
    )


def _text(values: Sequence[bytes]) -> str | None:
    """Return the value of a header that was sent once; None for any other."""
    return values[0].decode("latin-1") if len(values) == 1 else None
