"""Milvus is derived: a lost file or lost encoders, and the rows fill it again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from main import create_app
from product_search.runs.background import Loop
from product_search.settings import Settings
from tests.api.helpers import base64_of, create_all, ids, listed, resources, search
from tests.clock import until
from tests.unit.checkpoints import DIM, write_clip
from tests.unit.pictures import encoded, noise

PHOTO = encoded(noise((30, 30)), "PNG")
ROWS: list[dict[str, Any]] = [
    {"title": "红色双肩包", "image_base64": base64_of(PHOTO), "category": "箱包"},
    {"title": "保温杯", "price": "19.90"},
    {"title": "删掉的"},
]


@pytest.fixture(scope="module")
def stocked(open_settings: Callable[[], Settings]) -> tuple[Settings, list[dict[str, Any]]]:
    """Settings over a folder in which a service with the starter has indexed products."""
    settings = open_settings()
    with TestClient(create_app(settings)) as api:
        *left, gone = create_all(api, ROWS)
        assert api.delete(f"/product/{gone['product_id']}").status_code == 204
    return settings, left


def assert_whole(api: TestClient, products: list[dict[str, Any]]) -> None:
    """Everything is found in every mode, once the queue is empty."""
    assert create_all(api, [{"title": "最后一个"}])[0]["index_status"] == "indexed"
    assert listed(api, index_status="indexed")["total"] == len(products) + 1
    assert resources(api).entities.count() == len(products) + 1
    first, second = (product["product_id"] for product in products)
    photo = {"image_base64": base64_of(PHOTO)}
    (hit,) = search(api, "image_to_image", **photo)
    assert (hit["product"]["product_id"], hit["score"] >= 0.98) == (first, True)
    assert ids(search(api, "text_to_image", text="书包")) == [first]
    assert ids(search(api, "text_to_text", text="保温杯", top_k=1)) == [second]
    assert {first, second} <= set(ids(search(api, "image_to_text", **photo)))
    assert ids(search(api, "text_to_text", text="包", filters={"category": "箱包"})) == [first]
    last = listed(api, sort="newest")["items"][0]["product_id"]
    assert api.delete(f"/product/{last}").status_code == 204


def test_a_lost_milvus_file_is_filled_again_from_the_rows(
    stocked: tuple[Settings, list[dict[str, Any]]],
) -> None:
    settings, products = stocked
    lose_milvus(settings)
    with TestClient(create_app(settings)) as api:
        assert_whole(api, products)


def lose_milvus(settings: Settings) -> None:
    if settings.milvus_path.is_dir():
        shutil.rmtree(settings.milvus_path)
    else:
        settings.milvus_path.unlink()


def test_while_the_active_collection_is_filled_again_health_says_so(
    stocked: tuple[Settings, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, products = stocked
    lose_milvus(settings)

    def state(api: TestClient) -> tuple[str, str]:
        body = api.get("/health").json()
        return body["status"], body["vector_store"]

    with monkeypatch.context() as held:
        held.setattr(Loop, "start", lambda _loop: None)
        with TestClient(create_app(settings)) as api:
            assert state(api) == ("degraded", "filling")
    with TestClient(create_app(settings)) as api:
        assert_whole(api, products)
        assert state(api) == ("ok", "ok")
        resources(api).indexing_loop.stop()
        assert api.post("/product", json={"title": "等着"}).status_code == 201
        assert state(api) == ("ok", "ok")  # what is written meanwhile is no part that is lost
        (waiting,) = listed(api, index_status="pending")["items"]
        assert api.delete(f"/product/{waiting['product_id']}").status_code == 204


def test_a_collection_whose_encoders_are_gone_is_made_anew_with_those_that_are_chosen(
    open_settings: Callable[[], Settings], tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "clip")
    settings = open_settings().model_copy(update={"encoder": "auto", "clip_dir": clip})
    with TestClient(create_app(settings)) as api:
        *products, gone = create_all(api, ROWS)
        assert api.delete(f"/product/{gone['product_id']}").status_code == 204
        assert api.get("/health").json()["encoders"]["name"] == "chinese-clip"
        assert resources(api).encoders.image_text.dim == DIM
        before = f"product_v2_{resources(api).encoders.fingerprint}"
    shutil.rmtree(clip)
    with TestClient(create_app(settings)) as api:
        encoders = api.get("/health").json()["encoders"]
        assert encoders["name"] == "starter"
        assert_whole(api, products)
        vector_database = resources(api).collections.vector_database
        assert vector_database.has_collection(f"product_v2_{encoders['fingerprint']}")
        until(
            lambda: not vector_database.has_collection(before), "the end of what nobody can search"
        )


def test_a_restart_indexes_nothing_anew(
    stocked: tuple[Settings, list[dict[str, Any]]], caplog: pytest.LogCaptureFixture
) -> None:
    settings, products = stocked
    caplog.set_level("INFO")
    with TestClient(create_app(settings)) as api:
        first = api.get(f"/product/{products[0]['product_id']}").json()
        assert first["index_status"] == "indexed"
        assert "is new" not in caplog.text
