"""What a search reads of the products that its entities belong to, on every database."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import pytest
from sqlalchemy import delete
from sqlalchemy.orm import Session

from orm_models import Database, Product, products_by_id
from product_search.access.addresses import OPEN
from product_search.catalog.products import Catalog
from product_search.catalog.rows import BoundProduct, BoundProducts, bound_products, product_out
from tests.contract.test_database import catalog as catalog, create


def test_what_a_search_reads_of_a_product_is_what_the_catalog_shows(
    catalog: Catalog, database: Database
) -> None:
    whole = {
        "sku": "A-1",
        "description": "轻便",
        "category": "箱包",
        "brand": "远行",
        "price": Decimal("129.50"),
        "attributes": {"颜色": ["红", "蓝"], "防水": True, "重": 1.5, "无": None},
    }
    created = [create(catalog, **whole), create(catalog, price=Decimal("0.00")), create(catalog)]
    by_id = database.read(products_by_id, [one.product_id for one in created] + [10**6])
    shown = [product_out(row, OPEN) for row in by_id]
    assert sorted(shown, key=lambda one: one.product_id) == created
    assert isinstance(by_id[0].image_generated, bool)
    with pytest.raises(AttributeError):
        _ = by_id[0].image_phash


def test_products_are_bound_to_all_their_entities_and_read_where_they_are_wanted(
    catalog: Catalog, database: Database
) -> None:
    groups = ("款", None, '款"1\\🎒', None)
    priced = zip((1, 200, 300, 400), groups, strict=True)
    created = [create(catalog, price=Decimal(price), group=group) for price, group in priced]
    keys = [int(one.milvus_id) for one in created]
    wanted = [created[3].product_id]
    asked: list[object] = []

    def choose(found: Mapping[int, BoundProduct]) -> list[int]:
        asked.append(dict(found))
        return wanted

    found = database.read(bound_products, [*keys, 10**18], [Product.price > 100], choose)
    assert found.products == {
        int(one.milvus_id): (one.product_id, one.group) for one in created[1:]
    }
    assert [one.group for one in created] == list(groups)
    assert asked == [found.products]
    shown = {key: product_out(row, OPEN) for key, row in found.rows.items()}
    assert shown == {wanted[0]: created[3]}
    assert database.read(bound_products, [], (), lambda _: []) == BoundProducts({}, {})


def test_a_product_that_goes_meanwhile_makes_room_for_the_next(
    catalog: Catalog, database: Database
) -> None:
    first, second = (create(catalog) for _ in range(2))
    keys = [int(one.milvus_id) for one in (first, second)]

    def search(session: Session) -> BoundProducts:
        def best(found: Mapping[int, BoundProduct]) -> list[int]:
            chosen = [found[key].id for key in keys if key in found][:1]
            session.execute(delete(Product).where(Product.id == first.product_id))
            return chosen

        return bound_products(session, keys, (), best)

    found = database.read(search)
    assert found.products == {keys[1]: (second.product_id, None)}
    assert list(found.rows) == [second.product_id]
