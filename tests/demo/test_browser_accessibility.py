"""axe-core finds nothing serious on any page that is ours; what is Streamlit's own is listed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.demo.conftest import IDLE, WAIT_MS

PAGES = [
    "?text=书包",
    "catalogue",
    "imports",
    "matching",
    "generate",
    "duplicates",
    "map",
    "system",
]
# Rules that Streamlit 1.67's own elements break, with the part of their HTML that tells them.
STREAMLITS_OWN: dict[str, str] = {}


@pytest.fixture(params=["desktop light", "phone dark"])
def tab(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    size, scheme = request.param.split()
    width, height = {"desktop": (1280, 900), "phone": (390, 844)}[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, locale="zh-CN"
    )
    context.set_default_timeout(WAIT_MS)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_no_serious_violation(tab: Page, pages_url: str, path: str) -> None:
    tab.goto(f"{pages_url}/{path}")
    expect(tab.get_by_role("heading", level=1)).to_be_visible()
    tab.wait_for_selector(IDLE)
    assert list(violations(Axe().run(tab).response)) == []


def violations(found: dict[str, Any]) -> Iterator[str]:
    """Those that are serious, and ours."""
    for rule in found["violations"]:
        if rule["impact"] not in ("serious", "critical"):
            continue
        for node in rule["nodes"]:
            if STREAMLITS_OWN.get(rule["id"], "\0") not in node["html"]:
                yield f"{rule['id']}: {node['target']} {node['html']}"
