"""Repeats each test with other inputs while the time lasts that the environment gives to all."""

from __future__ import annotations

import os
import time
from collections.abc import Generator

import pytest

SECONDS = float(os.environ.get("PRODUCT_SEARCH_TEST_FUZZ_SECONDS") or 0)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Call the test once, and then again until its share of the time is over."""
    end = time.monotonic() + SECONDS / len(pyfuncitem.session.items)
    result = yield
    arguments = pyfuncitem._fixtureinfo.argnames
    while time.monotonic() < end:
        pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in arguments})
    return result
