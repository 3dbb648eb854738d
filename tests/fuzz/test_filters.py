"""Filters over a small catalogue: Milvus and the relational store let the same products pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from data_models import MAX_LABEL, SearchFilters, is_blank
from orm_models import Database, Product, filter_conditions
from product_search.bootstrap.migrate import migrate
from product_search.milvus.filters import passes
from product_search.milvus.options import MilvusOptions
from tests.contract.entities import BGE, DIMS, IMAGE, entity, unit
from tests.fuzz.inputs import FEW
from tests.hostile import HOSTILE
from vector_db import EntityCollection, MilvusDatabase

LABELS = [text for text in HOSTILE if not is_blank(text)]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PRICES = [None, "0.00", "0.01", "9.99", "10.00", "1234567890.10", "9999999999.99"]
VALUES: list[Any] = [
    *(0, 1, -1, 1.0, 0.5, 2**53, 2**53 + 1, 2**63 - 1, 1e308, 5e-324, True, False, None, [], {}),
    *("1", "true", "", "红", ["红", 1, True], [["红"]], ["1", None], [0.5, "\\"]),
]
KEYS = ["a", "颜色", "", "a.b", "$meta", 'a"] == 1 or attributes["a', "a']['b", "\\", "\n"]


def products() -> Iterator[dict[str, Any]]:
    """A product for each hostile label, with all else changing from one to the next."""
    for key, label in enumerate(LABELS, 1):
        price = PRICES[key % len(PRICES)]
        yield {
            "milvus_id": key,
            "title": "书包",
            "category": label if key % 5 else None,
            "brand": LABELS[-key] if key % 4 else None,
            "price": None if price is None else Decimal(price),
            "attributes": {
                KEYS[(key + place) % len(KEYS)]: VALUES[(key * 3 + place) % len(VALUES)]
                for place in range(key % 4)
            }
            | {label: label, "l": [label, key]},
            "created_at": NOON + timedelta(microseconds=key % 7 - 3, days=key % 3),
            "image_hash": "0" * 64 if key % 3 else None,
        }


ROWS = list(products())


@pytest.fixture(scope="module")
def entities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EntityCollection]:
    """The products in Milvus."""
    folder = tmp_path_factory.mktemp("milvus")
    milvus = MilvusDatabase(folder / "milvus.db", "here", MilvusOptions())
    entities = milvus.ensure_collection("product_v1_000000000000", DIMS)
    entities.upsert([_entity(row) for row in ROWS])
    yield entities
    milvus.close()


def _entity(row: Mapping[str, Any]) -> Any:
    image = None if row["image_hash"] is None else unit(0)
    shared = {name: row[name] for name in ("category", "brand", "price", "attributes")}
    return entity(row["milvus_id"], created_at=row["created_at"], image_clip_vector=image, **shared)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The products in the relational store."""
    path: Path = tmp_path_factory.mktemp("database") / "catalog.sqlite3"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.write(lambda session: session.add_all([Product(**row) for row in ROWS]))
    yield database
    database.close()


labels = st.sampled_from(LABELS) | st.text(min_size=1, max_size=MAX_LABEL)
amounts = st.sampled_from([price for price in PRICES if price]) | st.decimals(
    0, Decimal("9999999999.99"), places=2
).map(str)
moments = st.builds(
    lambda days, ticks: (NOON + timedelta(days=days, microseconds=ticks)).isoformat(),
    st.integers(-2, 4),
    st.integers(-4, 4),
)
scalars = st.sampled_from(
    [value for value in VALUES if isinstance(value, str | bool | int | float)]
) | st.one_of(labels, st.integers(1, len(LABELS)), st.floats(-2, 2))
numbers = st.sampled_from([0, 1, 0.5, 2**53, 2**63 - 1]) | st.floats(-2, 50)
ends = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("gte", "gt", "lte", "lt"), numbers)
).filter(bool)
conditions = scalars | st.lists(scalars, min_size=1, max_size=5) | ends
asked = st.fixed_dictionaries(
    {},
    optional={
        "category": labels | st.lists(labels, min_size=1, max_size=6),
        "brand": labels | st.lists(labels, min_size=1, max_size=6),
        "price": st.fixed_dictionaries({}, optional={"gte": amounts, "lte": amounts}),
        "has_image": st.booleans(),
        "created_at": st.fixed_dictionaries({}, optional={"gte": moments, "lte": moments}),
        "attributes": st.dictionaries(
            st.sampled_from([*KEYS, "l", *LABELS]) | st.text(max_size=5),
            conditions,
            min_size=1,
            max_size=3,
        ),
    },
)


def _in_database(session: Session, filters: SearchFilters) -> set[int]:
    columns = select(Product.milvus_id, Product.attributes).where(*filter_conditions(filters))
    return {key for key, kept in session.execute(columns) if passes(kept, filters)}


@FEW
@given(asked, st.booleans())
def test_both_stores_let_the_same_products_pass(
    entities: EntityCollection, database: Database, asked: dict[str, Any], by_image: bool
) -> None:
    try:
        filters = SearchFilters.model_validate(asked)
    except ValidationError:
        return  # blank, or ends out of order
    field = IMAGE if by_image else BGE
    hits = entities.search(field, unit(0), len(ROWS), filters)
    wanted = database.read(_in_database, filters)
    if by_image:
        wanted -= {row["milvus_id"] for row in ROWS if row["image_hash"] is None}
    assert {hit.milvus_id for hit in hits} == wanted
