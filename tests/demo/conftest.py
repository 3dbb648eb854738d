"""What the demo's tests share: the real API with a part of the sample catalog."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from playwright.sync_api import Browser, Page, expect, sync_playwright

from data_models import ProductOut
from product_search.client import ApiClient
from tests.conftest import SAMPLE
from tests.demo.guarded import Guarded, running_guarded
from tests.demo.pages import Upload
from tests.servers import free_port, running_api, running_pages

WAIT_MS = 30_000
# A page that has drawn what it was asked for.
IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"]'
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP rebound.test 127.0.0.1",  # as an attacker's DNS would have it
]
# 22 products, so that the catalog has a second page; BAG-0018 has no image.
_SKUS = [f"BAG-{number:04}" for number in (*range(1, 14), 18)] + [
    f"FRESH-{number:04}" for number in range(1, 9)
]


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `service`, for what no route can do."""
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="session")
def service(data_dir: Path) -> Iterator[ApiClient]:
    """A client of a running API whose catalog holds the products above, all indexed."""
    with running_api(data_dir) as (url, _):
        client = ApiClient(url)
        for row in _sample_rows():
            _add(client, row)
        yield client
        client.close()


@pytest.fixture(scope="session")
def generating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiClient]:
    """A client of a running API that generates images, with two products."""
    from tests.generation import write_pipeline  # diffusers takes seconds to import

    folder = write_pipeline(tmp_path_factory.mktemp("pipeline"))
    data_dir = tmp_path_factory.mktemp("generating")
    with running_api(data_dir, PRODUCT_SEARCH_GENERATION_DIR=str(folder)) as (url, _):
        client = ApiClient(url)
        for row in _sample_rows()[:2]:
            _add(client, row)
        yield client
        client.close()


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A running API that requires keys, with two products."""
    with running_guarded(tmp_path_factory.mktemp("guarded")) as service:
        yield service


def _sample_rows() -> list[dict[str, str]]:
    with (SAMPLE / "catalog.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["sku"]: row for row in csv.DictReader(stream)}
    return [rows[sku] for sku in _SKUS]


def _add(client: ApiClient, row: dict[str, str]) -> ProductOut:
    path = row["image_path"]
    names = ("sku", "title", "description", "category", "brand", "price")
    fields = {name: row[name] for name in names} | {"attributes": json.loads(row["attributes"])}
    return client.create_product(fields, (SAMPLE / path).read_bytes() if path else None, wait=True)


@pytest.fixture
def api_url(service: ApiClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address that pages run in this process will use: that of the running API."""
    yield from _used_by_pages(service.base_url, monkeypatch)


@pytest.fixture
def generating_url(generating: ApiClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same of the API that generates images."""
    yield from _used_by_pages(generating.base_url, monkeypatch)


@pytest.fixture
def guarded_url(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same of the API that requires keys."""
    yield from _used_by_pages(guarded.url, monkeypatch)


@pytest.fixture
def silent_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same, but nobody listens there."""
    yield from _used_by_pages(f"http://127.0.0.1:{free_port()}", monkeypatch)


def _used_by_pages(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("PRODUCT_SEARCH_API_URL", url)
    yield url
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture(autouse=True)
def own_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page run here is `__main__` until this test ends: processes forked later would run it."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture
def apple(sample_image: Callable[[str], bytes]) -> Upload:
    return "苹果.webp", sample_image("1f34e.webp"), "image/webp"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        reason = "chromium is not installed: no browser to drive the pages with"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def pages_url(browser: Browser, service: ApiClient) -> Iterator[str]:
    """The pages over the API with the sample products; not started without a browser."""
    assert browser.is_connected()
    with running_pages(service.base_url) as url:
        yield url


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def page(browser: Browser, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Page]:
    """An empty tab of the size; what it shows at the end is kept in tmp_path."""
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, locale="zh-CN")
    context.set_default_timeout(WAIT_MS)
    tab = context.new_page()
    yield tab
    tab.screenshot(path=tmp_path / "page.png", full_page=True)
    context.close()
