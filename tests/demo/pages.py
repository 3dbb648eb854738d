"""How the tests run a page without a browser, and read what it shows."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from data_models import AuditRun, CatalogueMap, DuplicateRun, MapField
from product_search.api_client import ApiClient
from product_search.settings import ROOT

Upload = tuple[str, bytes, str]


def opened(page: str = "web_demo.py") -> AppTest:
    return AppTest.from_file(ROOT / page, default_timeout=60).run()


def html(page: AppTest) -> str:
    assert not page.exception
    return "".join(block.value for block in page.html if "<style>" not in block.value)


def titles(page: AppTest) -> list[str]:
    return re.findall(r'class="ps-title">(.*?)</div>', html(page))


def said(page: AppTest) -> str:
    """All messages, without Markdown's backslashes."""
    assert not page.exception
    kinds = (page.error, page.warning, page.info, page.success, page.markdown, page.caption)
    return "\n".join(block.value for kind in kinds for block in kind).replace("\\", "")


def followed(newest: Callable[[], AuditRun | DuplicateRun | None]) -> None:
    """Wait for the end of a run."""
    deadline = time.monotonic() + 30
    while (run := newest()) is None or run.is_under_way:
        assert time.monotonic() < deadline, f"the run does not end: {run}"
        time.sleep(0.05)
    assert run.state == "done"


def drawn(service: ApiClient, field: MapField) -> CatalogueMap:
    """The map of the catalogue as it is now."""
    deadline = time.monotonic() + 30
    while not isinstance(found := service.map(field), CatalogueMap) or found.stale:
        assert time.monotonic() < deadline, f"the map is not drawn: {found}"
        time.sleep(0.05)
    return found
