"""How the tests run a page without a browser, and read what it shows."""

from __future__ import annotations

import re
from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from data_models import CatalogMap, InsightRun, MapField
from product_search.client import ApiClient
from product_search.settings import ROOT
from tests.clock import until

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


def followed(newest: Callable[[], InsightRun | None]) -> None:
    """Wait for the end of a run."""
    until(lambda: (run := newest()) is not None and not run.is_under_way, "the run has ended")


def drawn(service: ApiClient, field: MapField) -> CatalogMap:
    """The map of the catalog as it is now."""

    def is_fresh() -> bool:
        found = service.get_map(field)
        return isinstance(found, CatalogMap) and not found.stale

    until(is_fresh, "the map is drawn")
    found = service.get_map(field)
    assert isinstance(found, CatalogMap)
    return found
