"""Every filter and order of the list, and exact duplicates, are found by an index, EXPLAIN says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import insert, select, text

from data_models import ProductListQuery
from orm_models import Database, Product
from product_search.catalog.identity import find_duplicates
from product_search.catalog.products import Catalog
from product_search.catalog.rows import BoundProduct, bound_products
from product_search.images.store import ImageStore
from tests.contract.conftest import empty_tables, mysql_url
from tests.contract.plans import PRIMARY, Plan, plans_of

ROWS = 20_000
KINDS = 50  # of categories and of brands


def row(number: int) -> dict[str, Any]:
    """Every 10th has no price, every 100th is failed."""
    return {
        "title": f"商品 {number}",
        "category": f"分类 {number % KINDS}",
        "brand": f"品牌 {number // 3 % KINDS}",
        "price": None if number % 10 == 0 else Decimal(number * 7919 % ROWS),
        "image_hash": str(number % 5_000),
        "title_key": str(number % 5_000),
        "group": f"款 {number % 5_000}",
        "index_status": "failed" if number % 100 == 0 else "indexed",
    }


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def catalog(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Catalog]:
    """A catalog with enough rows that a wrong plan costs something."""
    folder = tmp_path_factory.mktemp("plans")
    on_mysql = request.param == "mysql"
    database = Database(mysql_url() if on_mysql else f"sqlite:///{folder / 'catalog.sqlite3'}")
    empty_tables(database)
    rows = [row(number) for number in range(ROWS)]
    database.write(lambda session: session.execute(insert(Product), rows))
    if on_mysql:  # what InnoDB does by itself, some seconds later
        database.read(lambda session: session.execute(text("ANALYZE TABLE product")).all())
    yield Catalog(database, ImageStore(folder / "images"))
    database.close()


def plans(catalog: Catalog, **parameters: object) -> list[Plan]:
    """The plan of each statement that this list runs; the last one counts all that is found."""
    query = ProductListQuery.model_validate(parameters)
    made = plans_of(catalog.database.engine, lambda: catalog.list(query))
    assert len(made) >= 2
    return made


ORDERS: dict[str, str] = {
    "newest": PRIMARY,
    "oldest": PRIMARY,
    "price_asc": "ix_product_price",
    "price_desc": "ix_product_price_desc",
}
FILTERS: dict[str, Mapping[str, object]] = {
    "ix_product_category": {"category": "分类 7"},
    "ix_product_brand": {"brand": "品牌 7"},
    "ix_product_index_status": {"index_status": "failed"},
    "ix_product_group_key": {"group": "款 7"},
}
PRICES = {"min_price": "500", "max_price": "540"}


@pytest.mark.parametrize("page", [1, 3])
@pytest.mark.parametrize("sort", ORDERS)
def test_an_order_is_an_index_and_nothing_is_sorted(catalog: Catalog, sort: str, page: int) -> None:
    listing = plans(catalog, sort=sort, page=page)[0]
    assert (listing.indexes, listing.sorts) == ({ORDERS[sort]}, False), listing


def test_products_without_a_price_are_found_by_an_index_too(catalog: Catalog) -> None:
    # So far in, a server may find it cheaper to sort those with a price than to skip them.
    last = plans(catalog, sort="price_asc", page=ROWS // 100, page_size=100)
    (unpriced,) = (plan for plan in last if "price IS NULL ORDER BY" in plan.statement)
    assert not unpriced.sorts, unpriced
    assert unpriced.indexes, unpriced
    assert unpriced.indexes <= {"ix_product_price", "ix_product_price_desc"}, unpriced


@pytest.mark.parametrize("sort", ["newest", "oldest"])
@pytest.mark.parametrize("index", FILTERS)
def test_a_filter_is_an_index_that_has_the_order_too(
    catalog: Catalog, index: str, sort: str
) -> None:
    for plan in plans(catalog, sort=sort, **FILTERS[index]):
        assert (plan.indexes, plan.sorts) == ({index}, False), plan


@pytest.mark.parametrize("index", FILTERS)
def test_a_walk_by_id_through_a_filter_is_an_index(catalog: Catalog, index: str) -> None:
    for plan in plans(catalog, after_id=1_000, **FILTERS[index]):
        # MySQL may intersect it with the primary key, and sorts what few rows are left.
        assert plan.indexes in ({index}, {index, PRIMARY}), plan
        assert not plan.sorts or PRIMARY in plan.indexes, plan


def test_a_walk_by_id_is_the_primary_key(catalog: Catalog) -> None:
    listing = plans(catalog, after_id=10_000)[0]
    assert (listing.indexes, listing.sorts) == ({PRIMARY}, False), listing


@pytest.mark.parametrize("sort", ORDERS)
def test_a_range_of_prices_is_an_index(catalog: Catalog, sort: str) -> None:
    by_price = {"ix_product_price", "ix_product_price_desc"}
    for plan in plans(catalog, sort=sort, **PRICES):
        assert plan.indexes, plan
        assert plan.indexes <= by_price, plan
        assert not plan.sorts or sort != "price_asc", plan  # else the few in the range


def test_exact_duplicates_are_two_indexes_and_nothing_is_sorted(catalog: Catalog) -> None:
    database = catalog.database
    (plan,) = plans_of(
        database.engine,
        lambda: database.read(find_duplicates, "77", "99"),
    )
    assert plan.indexes - {PRIMARY} == {"ix_product_title_key", "ix_product_image_hash"}, plan
    assert not plan.sorts, plan


def test_the_products_of_many_entities_are_looked_up_one_by_one(catalog: Catalog) -> None:
    database = catalog.database
    keys = database.read(
        lambda session: session.scalars(select(Product.milvus_id).limit(300)).all()
    )

    def first(found: Mapping[int, BoundProduct]) -> list[int]:
        return [one.id for one in found.values()][:10]

    made = plans_of(database.engine, lambda: database.read(bound_products, keys, (), first))
    assert [plan.scans for plan in made] == [False, False], made
    if database.engine.dialect.name == "sqlite":  # InnoDB's plan is of the same few pages
        assert made[0].indexes == {"ix_product_binding"}, made
