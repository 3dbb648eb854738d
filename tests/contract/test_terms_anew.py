"""Products that have the terms of a release before are indexed anew, while searches go on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update
from sqlalchemy.orm import Session

from main import create_app
from orm_models import VectorCollection
from product_search.indexing import indexer
from product_search.indexing.startup import renew_terms
from product_search.outbox import catalog_events, counts
from product_search.settings import Settings
from product_search.text.analysis import terms
from product_search.text.document import Described
from tests.api.helpers import resources
from tests.clock import until
from tests.contract.test_service import found, settings as settings


def _former_terms(product: Described) -> str:
    return " ".join(terms(product.title))


def test_on_every_database(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, forget_terms: Callable[[TestClient], None]
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(indexer, "document_terms", _former_terms)
        with TestClient(create_app(settings)) as client:
            for sku, title in (("NF.0450-82", "净水器滤芯"), ("NF.0450-83", "红色双肩包")):
                answer = client.post("/product?wait=true", json={"sku": sku, "title": title})
                assert answer.json()["index_status"] == "indexed"
            forget_terms(client)
    with TestClient(create_app(settings)) as client:
        assert found(client, text="净水器滤芯")[0] == "净水器滤芯"
        until(lambda: found(client, text="NF.0450-83")[:1] == ["红色双肩包"], "it has its code")
        assert client.get("/product/list?index_status=pending").json()["total"] == 0
    with TestClient(create_app(settings)) as client:
        assert client.get("/product/list?index_status=pending").json()["total"] == 0


def test_meanwhile_a_collection_is_said_to_lack_products_only_where_it_is_new(
    settings: Settings, forget_terms: Callable[[TestClient], None]
) -> None:
    def renew(session: Session, *, is_new: bool) -> tuple[bool, int]:
        if is_new:
            catalog_events.record_rebuild(session)
        assert renew_terms(session)
        return counts.is_rebuilding(session), counts.count_pending(session)

    with TestClient(create_app(settings)) as client:
        assert client.post("/product?wait=true", json={"title": "净水器滤芯"}).status_code == 201
        for is_new in (False, True):
            forget_terms(client)
            database = resources(client).database
            assert database.write(partial(renew, is_new=is_new)) == (is_new, 1)


@pytest.fixture
def forget_terms() -> Callable[[TestClient], None]:
    """Make the collections those of a release that had other terms."""

    def forget(client: TestClient) -> None:
        former = update(VectorCollection).values(terms_version=1)
        resources(client).database.write(lambda session: session.execute(former) and None)

    return forget
