"""How much one caller may ask for within a time: dearer operations count for more."""

from __future__ import annotations

import math
import time
from functools import lru_cache
from ipaddress import IPv6Address

from limits import RateLimitItem, parse
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from product_search.context import Principal
from product_search.errors import RateLimited

# What an operation counts, by its name: a search 10, others by the work that they are beside one,
# now or as a run. Images count little: a page of results loads dozens of them. What is not here
# counts as `_OTHER`; 0 is never refused.
COSTS = {
    "health": 0,
    "live": 0,
    "ready": 0,
    "get_metrics": 0,
    "get_image": 1,
    "get_generated_image": 1,
    "get_preview": 1,
    "suggest": 1,
    "get_product": 1,
    "list_products": 3,
    "search": 10,
    "get_similar": 10,
    "rerank": 20,
    "match": 30,
    "find_titles": 20,
    "search_batch": 100,
    "create_product": 10,
    "update_product": 10,
    "start_import": 200,
    "generate": 500,
    "find_duplicates": 200,
    "start_audit": 200,
    "get_map": 20,
    "check_drift": 200,
    "repair_drift": 200,
}
_OTHER = 2
_MAX_CALLERS = 50_000  # some 15 MB; the one whose window began first is forgotten for another


def cost_of(operation: str) -> int:
    """Return what a request for this operation counts; 0 where it is never refused."""
    return COSTS.get(operation, _OTHER)


class RateLimits:
    """Counts what each caller asks for; a caller that asks for too much is refused for a while.

    Each process counts for itself.
    """

    def __init__(self, limit: str | None = None) -> None:
        """Take the most that a caller may ask for, as `3000/minute`; None for no limit."""
        self._limit: RateLimitItem | None = parse(limit) if limit else None
        self._windows = Windows(_MAX_CALLERS)
        self._limiter = FixedWindowRateLimiter(self._windows)

    @property
    def are_on(self) -> bool:
        """Whether there is a limit."""
        return self._limit is not None

    def count(self, operation: str, principal: Principal, address: str) -> None:
        """Count a request.

        Raises:
            RateLimited: that is too much.
        """
        cost = cost_of(operation)
        if self._limit is None or cost == 0:
            return
        cost = min(cost, self._limit.amount)  # once in a window all may be asked for
        caller = caller_of(principal, address)
        if not self._limiter.hit(self._limit, caller, cost=cost):
            ends = self._windows.get_expiry(self._limit.key_for(caller))
            raise _refusal(max(1, math.ceil(ends - time.monotonic())))


class Windows(Storage):
    """Counts of callers in memory, of so many at most; each ends with its window.

    limits' own MemoryStorage keeps as many as come, and looks through all of them after a request.
    """

    STORAGE_SCHEME = None

    def __init__(self, most: int) -> None:
        """Count nobody yet."""
        super().__init__()
        self._most = most
        self._counts: dict[str, tuple[int, float]] = {}  # with their ends; the first to end first

    @property
    def base_exceptions(self) -> type[Exception]:
        """What may go wrong here: nothing."""
        return OSError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Return the caller's count after this one; a new window is `expiry` seconds long."""
        now = time.monotonic()
        count, ends = self._counts.get(key, (0, 0.0))
        if ends <= now:
            self._counts.pop(key, None)
            self._make_room(now)
            count, ends = 0, now + expiry
        self._counts[key] = count + amount, ends
        return count + amount

    def get(self, key: str) -> int:
        """Return the caller's count."""
        count, ends = self._counts.get(key, (0, 0.0))
        return count if ends > time.monotonic() else 0

    def get_expiry(self, key: str) -> float:
        """Return when the caller's window ends, by time.monotonic()."""
        return self._counts.get(key, (0, time.monotonic()))[1]

    def check(self) -> bool:
        """Return that the storage works."""
        return True

    def reset(self) -> int:
        """Forget everybody; return how many there were."""
        there_were = len(self._counts)
        self._counts.clear()
        return there_were

    def clear(self, key: str) -> None:
        """Forget the caller."""
        self._counts.pop(key, None)

    def _make_room(self, now: float) -> None:
        """Drop windows that have ended, and where that is not enough the one that ends first."""
        while self._counts:
            first = next(iter(self._counts))
            if self._counts[first][1] > now and len(self._counts) < self._most:
                return
            del self._counts[first]


def caller_of(principal: Principal, address: str) -> str:
    """Return who asks: a key of the operator's, wherever it is used, or an address.

    A publishable key is every visitor's: they count by their addresses.
    """
    if principal.key_id is not None and not principal.origins:
        return principal.key_id
    return f"{principal.key_id or ''}@{network_of(address)}"


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return whose address this is: an IPv4 address itself, of an IPv6 one the first 64 bits.

    Those are the least that one customer of a provider has.
    """
    try:
        ip = IPv6Address(address)
    except ValueError:
        return address[:64]
    return str(ip.ipv4_mapped) if ip.ipv4_mapped else f"{int(ip) >> 64:x}::/64"


def _refusal(retry_after_s: int) -> RateLimited:
    refusal = RateLimited(f"请求过于频繁，请在 {retry_after_s} 秒后重试")
    refusal.retry_after_s = retry_after_s
    return refusal
