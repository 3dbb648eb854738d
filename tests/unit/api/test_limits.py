"""How much one caller may ask for."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from main import create_app
from product_search.api.doors.limits import COSTS, RateLimits, Windows, network_of
from product_search.context import ANYBODY, Principal, Scope
from product_search.errors import RateLimited

PROGRAM = Principal("till", Scope.write, "key1")
PAGE = Principal("shop", Scope.read, "key2", ("https://shop.example.com",))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """What time.monotonic() says, as long as the test lasts."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    yield now
    monkeypatch.undo()


def spent(limits: RateLimits, principal: Principal, address: str, operation: str = "search") -> int:
    """How many times the caller may ask before it is refused."""
    for count in range(1000):
        try:
            limits.count(operation, principal, address)
        except RateLimited:
            return count
    raise AssertionError("the caller is never refused")


def test_a_caller_is_refused_until_its_window_ends(clock: list[float]) -> None:
    limits = RateLimits("100/minute")
    assert spent(limits, ANYBODY, "10.0.0.1") == 10
    clock[0] += 40.5
    with pytest.raises(RateLimited) as caught:
        limits.count("search", ANYBODY, "10.0.0.1")
    assert caught.value.retry_after_s == 20
    clock[0] += 20
    assert spent(limits, ANYBODY, "10.0.0.1") == 10


def test_a_caller_that_goes_on_is_refused_no_longer(clock: list[float]) -> None:
    limits = RateLimits("20/minute")
    for _ in range(60):
        clock[0] += 1
        spent(limits, ANYBODY, "10.0.0.1")
    clock[0] += 1
    assert spent(limits, ANYBODY, "10.0.0.1") == 2


def test_dearer_operations_count_for_more() -> None:
    limits = RateLimits("1000/minute")
    assert spent(limits, ANYBODY, "10.0.0.1", "generate") == 2
    assert spent(limits, ANYBODY, "10.0.0.2", "search") == 100
    assert spent(limits, ANYBODY, "10.0.0.3", "get_generation") == 500  # it is in no table


def test_what_costs_more_than_the_limit_can_still_be_asked_for() -> None:
    assert spent(RateLimits("100/minute"), ANYBODY, "10.0.0.1", "generate") == 1


@pytest.mark.parametrize("operation", ["health", "live", "ready", "get_metrics"])
def test_health_is_never_refused(operation: str) -> None:
    limits = RateLimits("1/hour")
    spent(limits, ANYBODY, "10.0.0.1")
    for _ in range(10):
        limits.count(operation, ANYBODY, "10.0.0.1")


def test_there_is_no_limit_by_default() -> None:
    limits = RateLimits()
    assert not limits.are_on
    for _ in range(10_000):
        limits.count("generate", ANYBODY, "10.0.0.1")


def test_a_key_counts_wherever_it_is_used_and_a_publishable_one_by_its_visitors() -> None:
    limits = RateLimits("20/minute")
    assert spent(limits, PROGRAM, "10.0.0.1") == 2
    assert spent(limits, PROGRAM, "10.0.0.2") == 0
    assert spent(limits, PAGE, "10.0.0.1") == 2
    assert spent(limits, PAGE, "10.0.0.2") == 2
    assert spent(limits, ANYBODY, "10.0.0.1") == 2


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2::1", "20010db800010002::/64"),
        ("2001:DB8:1:2:ffff:ffff:ffff:ffff", "20010db800010002::/64"),
        ("2001:db8:1:3::1", "20010db800010003::/64"),
        ("fe80::1%eth0", "fe80000000000000::/64"),
        ("testclient", "testclient"),
        ("x" * 1000, "x" * 64),
    ],
)
def test_an_ipv6_address_counts_by_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_callers_are_kept_only_so_many_at_once(clock: list[float]) -> None:
    windows = Windows(3)
    for name in "abcd":
        windows.incr(name, 60)
    assert [windows.get(name) for name in "abcd"] == [0, 1, 1, 1]
    windows.incr("c", 60)
    clock[0] += 61
    windows.incr("e", 60)
    assert windows.reset() == 1


def test_every_operation_of_the_table_is_one() -> None:
    operations = create_app().openapi()["paths"].values()
    names = {one["operationId"] for methods in operations for one in methods.values()}
    assert set(COSTS) <= names
