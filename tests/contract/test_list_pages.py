"""Pages of the product list: put together, they are the list, on every database."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from data_models import ListSort, ProductListQuery, SearchFilters
from orm_models import Database, filter_conditions
from product_search.catalog.listing import listed_milvus_ids
from product_search.catalog.products import Catalog
from product_search.images.store import ImageStore

# Ties, and products without a price between the others.
PRICES = ["5.00", None, "1.00", "5.00", None, "0.00", None, "5.00", "9999999999.99", "1.00"]
PRICED = [5, 2, 9, 0, 3, 7, 8]
UNPRICED = [1, 4, 6]
WANTED: dict[ListSort, list[int]] = {
    ListSort.oldest: list(range(10)),
    ListSort.newest: list(reversed(range(10))),
    ListSort.price_asc: PRICED + UNPRICED,
    ListSort.price_desc: [8, 0, 3, 7, 2, 9, 5, *UNPRICED],
}


@pytest.fixture
def catalog(database: Database, tmp_path: Path) -> Catalog:
    """Products with these prices, every other one in a category."""
    catalog = Catalog(database, ImageStore(tmp_path / "images"))
    for place, price in enumerate(PRICES):
        fields = {"title": str(place), "category": "双数" if place % 2 == 0 else None}
        catalog.create(fields | {"price": price and Decimal(price)}, None)
    return catalog


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("sort", ListSort)
def test_pages_of_every_size_make_up_the_list(
    catalog: Catalog, sort: ListSort, filtered: bool
) -> None:
    category = "双数" if filtered else None
    wanted = [place for place in WANTED[sort] if not filtered or place % 2 == 0]
    for size in range(1, len(PRICES) + 2):
        seen: list[int] = []
        for page in range(1, len(PRICES) + 3):
            query = ProductListQuery(sort=sort, page=page, page_size=size, category=category)
            found = catalog.list(query)
            assert found.total == len(wanted)
            places = [int(item.title) for item in found.items]
            assert places == wanted[(page - 1) * size : page * size]
            seen += places
        assert seen == wanted


def test_a_range_of_prices_holds_no_product_without_one(catalog: Catalog) -> None:
    for sort in (ListSort.price_asc, ListSort.price_desc):
        query = ProductListQuery(sort=sort, min_price=Decimal(1), max_price=Decimal(5))
        wanted = [place for place in WANTED[sort] if PRICES[place] in ("1.00", "5.00")]
        assert [int(item.title) for item in catalog.list(query).items] == wanted


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("sort", ListSort)
def test_the_first_keys_are_those_of_the_list(
    catalog: Catalog, database: Database, sort: ListSort, filtered: bool
) -> None:
    filters = SearchFilters(category=["双数"]) if filtered else SearchFilters()
    category = "双数" if filtered else None
    items = catalog.list(ProductListQuery(sort=sort, page_size=100, category=category)).items
    wanted = [int(item.milvus_id) for item in items]
    for limit in range(1, len(PRICES) + 2):
        keys = database.read(listed_milvus_ids, filter_conditions(filters), sort, limit)
        assert keys == wanted[:limit]
