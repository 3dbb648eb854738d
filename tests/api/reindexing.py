"""A service with both encoders at hand, `manage reindex` beside it, what its collections hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from product_search.cli import manage
from product_search.indexing.collections import LiveCollections, Role, fetch_live
from product_search.settings import Settings
from tests.api.helpers import base64_of, create_all
from tests.unit.checkpoints import write_clip
from tests.unit.pictures import encoded, noise

PRODUCTS = 12
PHOTO = encoded(noise((30, 30)), "PNG")


@pytest.fixture
def settings(
    open_settings: Callable[[], Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Of a service and of the commands beside it; both encoders can be loaded."""
    clip = write_clip(tmp_path / "clip")
    settings = open_settings().model_copy(update={"clip_dir": clip, "index_batch_size": 4})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRODUCT_SEARCH_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PRODUCT_SEARCH_CLIP_DIR", str(clip))
    monkeypatch.setenv("PRODUCT_SEARCH_DEVICE", "cpu")
    return settings


def command(*arguments: str) -> int:
    return manage.main(["reindex", *arguments])


def encoder_of(api: TestClient) -> str:
    name: str = api.get("/health").json()["encoders"]["name"]
    return name


def held(collections: LiveCollections) -> dict[Role, dict[int, int]]:
    """Revisions by product, as each live collection has them."""
    rows = collections.database.read(fetch_live)
    found = {}
    for role, one in collections.open_all(rows):
        states = one.entities.scan(-1, 1000)
        assert {state.encoder_fingerprint for state in states} <= {one.encoders.fingerprint}
        found[role] = {state.product_id: state.revision for state in states}
    return found


def idle(api: TestClient) -> bool:
    pending: int = api.get("/health").json()["outbox"]["pending"]
    return pending == 0


def stock(api: TestClient) -> list[int]:
    rows: list[dict[str, Any]] = [{"title": f"书包 {number}"} for number in range(PRODUCTS - 1)]
    rows.insert(0, {"title": "有图", "image_base64": base64_of(PHOTO)})
    return [product["product_id"] for product in create_all(api, rows)]
