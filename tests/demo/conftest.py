"""What the demo's tests share: the real API with a part of the sample catalogue."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator

import pytest
import streamlit as st

from data_models import ProductOut
from product_search.api_client import ApiClient
from tests.conftest import SAMPLE
from tests.servers import free_port, running_api

# 22 products, so that the catalogue has a second page; BAG-0018 has no picture.
_SKUS = [f"BAG-{number:04}" for number in (*range(1, 14), 18)] + [
    f"FRESH-{number:04}" for number in range(1, 9)
]


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiClient]:
    """A client of a running API whose catalogue holds the products above, all indexed."""
    with running_api(tmp_path_factory.mktemp("api")) as (url, _):
        client = ApiClient(url)
        for row in _sample_rows():
            _add(client, row)
        yield client
        client.close()


def _sample_rows() -> list[dict[str, str]]:
    with (SAMPLE / "catalog.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["sku"]: row for row in csv.DictReader(stream)}
    return [rows[sku] for sku in _SKUS]


def _add(client: ApiClient, row: dict[str, str]) -> ProductOut:
    path = row["image_path"]
    names = ("sku", "title", "description", "category", "brand", "price")
    fields = {name: row[name] for name in names} | {"attributes": json.loads(row["attributes"])}
    return client.create(fields, (SAMPLE / path).read_bytes() if path else None, wait=True)


@pytest.fixture
def api_url(service: ApiClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address that pages run in this process will use: that of the running API."""
    yield from _used_by_pages(service.base_url, monkeypatch)


@pytest.fixture
def silent_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same, but nobody listens there."""
    yield from _used_by_pages(f"http://127.0.0.1:{free_port()}", monkeypatch)


def _used_by_pages(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("PRODUCT_SEARCH_API_URL", url)
    yield url
    st.cache_data.clear()
    st.cache_resource.clear()
