"""The catalog on every database: the same answers, exact and in one transaction."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from data_models import IndexStatus, ListSort, ProductListQuery, ProductOut, SearchFilters
from orm_models import (
    Database,
    OutboxEvent,
    Product,
    filter_conditions,
)
from product_search.catalog.products import KEEP_IMAGE, Catalog
from product_search.catalog.rows import (
    insert_product,
)
from product_search.errors import DuplicateSku, InvalidImage, ProductNotFound
from product_search.images.store import ImageStore
from product_search.outbox import catalog_events, counts, events as outbox
from tests.sessions import reading, writing
from tests.unit.pictures import encoded, four_colours

PNG = encoded(four_colours(), "PNG")
TEXTS = [
    "plain",
    "PLAIN",
    "Plain",
    "plain ",
    " plain",
    "plain\n",
    "it's",
    '"q"',
    "back\\slash",
    "%",
    "_",
    "p%",
    "é",
    "e\u0301",
    "e",
    "ß",
    "ss",
    "ＡＢＣ",
    "ABC",
    "🎒",
    "👜",
    "𠮷",
    "吉",
    "\x00",
    "a\x00",
    "a",
    "\u200b",
]


@pytest.fixture
def catalog(database: Database, tmp_path: Path) -> Catalog:
    return Catalog(database, ImageStore(tmp_path / "images"))


def create(catalog: Catalog, **fields: Any) -> ProductOut:
    made = catalog.create({"title": "书包"} | fields, None)
    return ProductOut.model_validate(made.model_dump(exclude={"duplicates"}))


def ids(catalog: Catalog, **parameters: Any) -> list[int]:
    query = ProductListQuery.model_validate({"page_size": 100, "sort": "oldest"} | parameters)
    page = catalog.list(query)
    assert page.total == len(page.items)
    return [item.product_id for item in page.items]


def events(database: Database) -> list[tuple[int, str, int]]:
    with reading(database) as session:
        return [
            (event.product_id, event.operation, event.revision)
            for event in session.scalars(select(OutboxEvent).order_by(OutboxEvent.id))
        ]


def test_a_product_comes_back_as_it_was_given(catalog: Catalog) -> None:
    fields: dict[str, Any] = {
        "sku": "A-1",
        "title": "  红色 双肩包🎒𠮷\n ",
        "description": "说明" * 2_500,
        "category": "箱包 ",
        "brand": "拾光\\'\"%_",
        "price": Decimal("19.99"),
        "attributes": {"颜色": "红🎒", "n": [1, 2.5, None, True, {"\\": "\n\x00"}], "": ""},
    }
    made = create(catalog, **fields)
    assert catalog.get(made.product_id) == made
    assert {name: getattr(made, name) for name in fields} == fields
    assert made.index_status is IndexStatus.pending


def test_a_title_of_500_four_byte_characters_fits(catalog: Catalog) -> None:
    made = create(catalog, title="𠮷" * 500, sku="🎒" * 100, description="𠮷" * 5_000)
    assert catalog.get(made.product_id) == made
    assert catalog.get(made.product_id).title == "𠮷" * 500


@pytest.mark.parametrize("price", ["0.00", "0.01", "0.10", "19.99", "9999999999.99", "8.07"])
def test_prices_are_exact(catalog: Catalog, price: str) -> None:
    made = create(catalog, price=Decimal(price))
    assert str(catalog.get(made.product_id).price) == price
    assert ids(catalog, min_price=price, max_price=price) == [made.product_id]


def test_times_are_kept_to_the_microsecond_in_utc(catalog: Catalog, database: Database) -> None:
    made = create(catalog)
    assert abs(datetime.now(UTC) - made.created_at) < timedelta(minutes=1)
    exact = datetime(2026, 3, 4, 5, 6, 7, 890_123, tzinfo=UTC)
    with writing(database) as session:
        product = session.get(Product, made.product_id)
        assert product is not None
        product.created_at = exact
    shown = catalog.get(made.product_id)
    assert shown.created_at == exact
    assert shown.created_at.utcoffset() == timedelta(0)
    assert shown.updated_at == made.updated_at


@pytest.mark.parametrize("field", ["category", "brand"])
def test_texts_are_equal_only_to_themselves(catalog: Catalog, field: str) -> None:
    made = {text: create(catalog, **{field: text}).product_id for text in TEXTS}
    for text, product_id in made.items():
        filters = SearchFilters.model_construct(category=None, brand=None, price=None)
        setattr(filters, field, [text])
        with reading(catalog.database) as session:
            rows = session.scalars(select(Product.id).where(*filter_conditions(filters))).all()
        assert list(rows) == [product_id], ascii(text)


def test_rows_are_parted_by_their_image_and_their_time(catalog: Catalog) -> None:
    made = [catalog.create({"title": "书包"}, image).product_id for image in (PNG, None, None)]
    moments = [datetime(2026, 1, 1, 12, 0, 0, micros, UTC) for micros in (1, 2, 3)]
    for product_id, moment in zip(made, moments, strict=True):
        with writing(catalog.database) as session:
            session.execute(
                update(Product).where(Product.id == product_id).values(created_at=moment)
            )

    def passing(**filters: Any) -> list[int]:
        conditions = filter_conditions(SearchFilters.model_validate(filters))
        with reading(catalog.database) as session:
            return [*session.scalars(select(Product.id).where(*conditions).order_by(Product.id))]

    assert passing(has_image=True) == made[:1]
    assert passing(has_image=False) == made[1:]
    assert passing(created_at={"gte": moments[1]}) == made[1:]
    assert passing(created_at={"lte": "2026-01-01T20:00:00.000002+08:00"}) == made[:2]
    whole = {"gte": "0001-01-01T00:00:00Z", "lte": "9999-12-31T23:59:59Z"}
    assert passing(created_at=whole, has_image=False) == made[1:]
    assert passing(created_at={"lte": whole["gte"]}) == []


def test_skus_differ_as_texts_do(catalog: Catalog) -> None:
    for text in TEXTS:
        assert create(catalog, sku=text).sku == text
        with pytest.raises(DuplicateSku):
            create(catalog, sku=text)


def test_many_products_may_have_no_sku(catalog: Catalog) -> None:
    assert create(catalog).sku is None
    assert create(catalog).sku is None


def test_a_part_of_a_title_is_literal_and_case_sensitive(catalog: Catalog) -> None:
    titles = [
        "100%棉",
        "100 棉",
        "RED_bag",
        "red-bag",
        'it\'s "x"',
        "a\\b",
        "🎒包",
        "👜包",
        "é",
        "e",
    ]
    made = {title: create(catalog, title=title).product_id for title in titles}
    for part, wanted in {
        "100%": ["100%棉"],
        "_": ["RED_bag"],
        "RED": ["RED_bag"],
        "red": ["red-bag"],
        "'": ['it\'s "x"'],
        "\\": ["a\\b"],
        "🎒": ["🎒包"],
        "包": ["🎒包", "👜包"],
        "é": ["é"],
        "%": ["100%棉"],
    }.items():
        assert ids(catalog, q=part) == [made[title] for title in wanted], part


def test_the_orders_are_the_same_everywhere(catalog: Catalog) -> None:
    prices = [Decimal("5.00"), None, Decimal("1.00"), Decimal("5.00"), Decimal("0.00"), None]
    made = [create(catalog, price=price).product_id for price in prices]
    wanted = {
        ListSort.oldest: [0, 1, 2, 3, 4, 5],
        ListSort.newest: [5, 4, 3, 2, 1, 0],
        ListSort.price_asc: [4, 2, 0, 3, 1, 5],
        ListSort.price_desc: [0, 3, 2, 4, 1, 5],
    }
    for sort, places in wanted.items():
        assert ids(catalog, sort=sort) == [made[place] for place in places]


def test_a_walk_by_id_sees_all(catalog: Catalog) -> None:
    made = [create(catalog).product_id for _ in range(7)]
    seen: list[int] = []
    while page := catalog.list(
        ProductListQuery(after_id=seen[-1] if seen else 0, page_size=3)
    ).items:
        seen += [item.product_id for item in page]
    assert seen == made


def test_every_write_leaves_its_event(catalog: Catalog, database: Database) -> None:
    product = create(catalog).product_id
    catalog.update(product, {"title": "新"}, KEEP_IMAGE)
    catalog.update(product, {"group": "不索引"}, KEEP_IMAGE)
    catalog.update(product, {"title": "新"}, KEEP_IMAGE)
    catalog.update(product, {}, PNG)
    catalog.update(product, {"price": Decimal("1.00")}, None)
    catalog.delete(product)
    upserts = [(product, "upsert", revision) for revision in (1, 2, 3, 4)]
    assert events(database) == [*upserts, (product, "delete", 4)]


def test_an_event_and_its_row_are_rolled_back_together(
    catalog: Catalog, database: Database
) -> None:
    def insert_and_fail(session: Session) -> None:
        insert_product(session, {"title": "书包"})
        raise KeyError("no")

    with pytest.raises(KeyError):
        database.write(insert_and_fail)
    assert events(database) == []
    assert ids(catalog) == []


def test_a_refused_write_leaves_nothing(catalog: Catalog, database: Database) -> None:
    first = create(catalog, sku="A")
    second = create(catalog, sku="B")
    before = events(database)
    with pytest.raises(DuplicateSku):
        create(catalog, sku="A", title="没有写入")
    with pytest.raises(DuplicateSku):
        catalog.update(second.product_id, {"sku": "A", "title": "没有写入"}, KEEP_IMAGE)
    with pytest.raises(InvalidImage):
        catalog.create({"title": "没有写入"}, b"no picture")
    with pytest.raises(InvalidImage):
        catalog.update(second.product_id, {"title": "没有写入"}, b"no picture")
    assert events(database) == before
    assert ids(catalog) == [first.product_id, second.product_id]
    assert catalog.get(second.product_id) == second


def test_an_update_sets_only_what_was_given(catalog: Catalog) -> None:
    made = create(catalog, sku="A", brand="甲", price=Decimal("1.00"), attributes={"a": 1})
    after = catalog.update(made.product_id, {"brand": None, "attributes": {"a": True}}, KEEP_IMAGE)
    assert catalog.get(made.product_id).model_dump() == after.model_dump(exclude={"warnings"})
    assert (after.brand, after.attributes["a"], after.revision) == (None, True, 2)
    assert (after.sku, after.price, after.title) == ("A", Decimal("1.00"), "书包")
    assert after.updated_at > made.updated_at


def test_a_deleted_product_is_gone_and_its_id_is_never_given_again(catalog: Catalog) -> None:
    product = create(catalog, sku="A").product_id
    catalog.delete(product)
    for use in (catalog.get, catalog.delete, lambda key: catalog.update(key, {}, KEEP_IMAGE)):
        with pytest.raises(ProductNotFound):
            use(product)
    assert create(catalog, sku="A").product_id > product


def test_all_products_are_queued_anew(catalog: Catalog, database: Database) -> None:
    made = [create(catalog).product_id for _ in range(3)]
    catalog.update(made[1], {"title": "新"}, KEEP_IMAGE)
    with writing(database) as session:
        for product in session.scalars(select(Product)):
            product.index_status = IndexStatus.failed
            product.index_error = "坏了"
    with writing(database) as session:
        catalog_events.record_rebuild(session)
    assert events(database) == [
        (made[0], "rebuild", 1),
        (made[1], "rebuild", 2),
        (made[2], "rebuild", 1),
    ]
    assert ids(catalog, index_status="pending") == made
    with reading(database) as session:
        moments = session.scalars(select(OutboxEvent.created_at)).all()
    assert all(abs(datetime.now(UTC) - moment) < timedelta(minutes=1) for moment in moments)


def test_events_are_claimed_in_order_and_forgotten(catalog: Catalog, database: Database) -> None:
    made = [create(catalog).product_id for _ in range(5)]
    claim = database.write(outbox.claim, 2, outbox.ClaimPolicy())
    with writing(database) as session:
        assert outbox.lock_held(session, claim, claim.items) == set(made[:2])
        outbox.mark_done(session, claim.items)
    assert [event[0] for event in events(database)] == made[2:]
    with reading(database) as session:
        assert counts.fetch_counts(session).pending == 3


def test_writers_at_the_same_time_lose_nothing(catalog: Catalog, database: Database) -> None:
    shared = create(catalog, title="0").product_id
    errors: list[Exception] = []

    def write(name: int) -> None:
        try:
            for number in range(8):
                create(catalog, sku=f"{name}-{number}")
                catalog.update(shared, {"title": f"{name}-{number}"}, KEEP_IMAGE)
        except Exception as error:  # noqa: BLE001 (told by the main thread)
            errors.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(ids(catalog)) == 33
    assert catalog.get(shared).revision == 33
    assert len(events(database)) == 65
    assert [event[2] for event in events(database) if event[0] == shared] == list(range(1, 34))
