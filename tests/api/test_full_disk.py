"""An image folder that can't be written: a clear answer, and nothing half-written."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient

from main import create_app
from product_search.settings import Settings
from tests.api.helpers import create


@pytest.fixture
def api(open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    """A service in whose data folder a file stands where images would go."""
    settings = open_settings()
    settings.images_dir.mkdir(parents=True)
    (settings.images_dir / "pictures").write_text("in the way")
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def test_an_image_that_can_not_be_kept_is_told_and_no_product_is_made(
    api: TestClient, png: Callable[..., bytes]
) -> None:
    answer = api.post("/product", data={"title": "书包"}, files={"image": png()})
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert api.get("/product/list").json()["total"] == 0


def test_a_change_whose_image_can_not_be_kept_changes_nothing(
    api: TestClient, png: Callable[..., bytes]
) -> None:
    product = create(api, wait=True)
    url = f"/product/{product['product_id']}"
    answer = api.patch(url, data={"title": "别的"}, files={"image": png()})
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert api.get(url).json() == product
