"""The service killed in the middle of an import: started again, it indexes every product."""

from __future__ import annotations

import csv
from collections.abc import Callable

import httpx

from data_models import IndexStatus, ProductListQuery, ProductOut, SearchFilters, VectorField
from product_search.bootstrap.encoders import EncoderLoader
from product_search.bootstrap.stores import open_database
from product_search.catalog.products import Catalog
from product_search.images.store import ImageStore
from product_search.milvus.schema import collection_name
from product_search.settings import Settings
from tests.clock import DEADLINE_S, until
from tests.conftest import SAMPLE
from tests.servers import forked, running_api, service_environment
from vector_db import MilvusDatabase


def _count(settings: Settings, status: IndexStatus | None) -> int:
    with open_database(settings) as database:
        catalog = Catalog(database, ImageStore(settings.images_dir))
        return catalog.list(ProductListQuery(index_status=status, page_size=1)).total


def _sample_skus() -> set[str]:
    with (SAMPLE / "catalog.csv").open(encoding="utf-8") as stream:
        return {row["sku"] for row in csv.DictReader(stream)}


def test_a_service_killed_during_an_import_indexes_every_product_when_started_again(
    open_settings: Callable[[], Settings],
) -> None:
    settings = open_settings()
    with running_api(settings.data_dir) as (_, service):
        folder = settings.data_dir
        command = ["manage", "import", str(SAMPLE / "catalog.csv")]
        importing = forked(command, folder, service_environment(folder), folder / "log")
        until(lambda: _count(settings, IndexStatus.indexed) >= 16, "the first indexed batch")
        service.kill()
        importing.join(DEADLINE_S)
        assert importing.exitcode == 0
    assert 0 < _count(settings, IndexStatus.indexed) < len(_sample_skus())
    assert _count(settings, IndexStatus.pending) > 0

    with running_api(settings.data_dir) as (address, _):
        until(lambda: _count(settings, IndexStatus.pending) == 0, "the rest of the indexing")
        assert httpx.get(f"{address}/health").json()["status"] == "ok"
    assert _count(settings, IndexStatus.indexed) == len(_sample_skus())
    _check_milvus_holds_exactly_the_catalog(settings)


def _check_milvus_holds_exactly_the_catalog(settings: Settings) -> None:
    with open_database(settings) as database:
        catalog = Catalog(database, ImageStore(settings.images_dir))
        products: list[ProductOut] = []
        while page := catalog.list(
            ProductListQuery(after_id=products[-1].product_id if products else 0, page_size=100)
        ).items:
            products += page
    encoders = EncoderLoader(settings).load_chosen()
    vector_database = MilvusDatabase(settings.milvus_path, "test")
    try:
        name = collection_name(encoders.fingerprint)
        assert vector_database.has_collection(name)
        entities = vector_database.open_collection(name)
        assert entities.count() == len(products)
        any_vector = encoders.text.encode_queries(["商品"])[0]
        hits = entities.search(VectorField.text_bge, any_vector, 1000, SearchFilters())
        assert {hit.milvus_id for hit in hits} == {int(item.milvus_id) for item in products}
    finally:
        vector_database.close()
    assert {product.sku for product in products} == _sample_skus()
