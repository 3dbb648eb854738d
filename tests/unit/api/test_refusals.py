"""What the log says of refusals."""

from __future__ import annotations

import time

import pytest

from product_search.api.doors.refusals import RefusalLog
from product_search.bootstrap import logs
from product_search.errors import CrossSite, HostNotAllowed

SCOPE = {"method": "POST", "path": "/product\r\nINFO: forged", "client": ("10.0.0.1", 4711)}


def test_a_kind_is_logged_at_times_and_counted_between(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    refusals = RefusalLog()
    for _ in range(100):
        refusals.note(SCOPE, CrossSite("a"))
    refusals.note(SCOPE, HostNotAllowed("b"))
    assert len(caplog.messages) == 2
    now[0] += 11
    refusals.note(SCOPE, CrossSite("c"))
    monkeypatch.undo()
    first, other, again = caplog.messages
    assert "403 cross_site (a)" in first
    assert "421 host_not_allowed (b)" in other
    assert again.endswith("403 cross_site (c); 99 more of this kind before")


def test_nothing_of_a_request_begins_a_line(caplog: pytest.LogCaptureFixture) -> None:
    logs.configure("service")
    RefusalLog().note(SCOPE, HostNotAllowed("主机名 'a\nINFO: forged'"))
    (line,) = caplog.messages
    assert "\n" not in line
    assert "POST /product%0D%0AINFO%3A%20forged from" in line
    assert "from 10.0.0.1" in line
