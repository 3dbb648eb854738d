"""Rows of products: found, added, changed, and turned into what the API shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Text, bindparam, insert, select
from sqlalchemy.orm import Session

from data_models import IndexStatus, ProductOut
from orm_models import Product, ProductRow, products_by_id
from product_search.access.addresses import Addresses
from product_search.catalog.identity import title_key
from product_search.catalog.variants import named_group
from product_search.database.column_types import same_json
from product_search.database.key_sets import key_in, read_rows, row_array, write_keys
from product_search.database.primary_keys import draw_primary_key
from product_search.database.transactions import read_committed
from product_search.errors import ProductNotFound
from product_search.outbox import catalog_events, events

# A change of these columns changes what Milvus holds; a change of the others does not.
INDEXED_COLUMNS = frozenset(
    {"sku", "title", "description", "category", "brand", "price", "attributes", "image_hash"}
)
# What a new product has where nothing is given; a bulk INSERT names the same columns in every row.
_DEFAULTS: dict[str, Any] = {
    "sku": None,
    "description": None,
    "category": None,
    "brand": None,
    "price": None,
    "attributes": {},
    "group": None,
    "image_hash": None,
    "image_generated": False,
    "image_phash": None,
    "revision": 1,
    "index_status": IndexStatus.pending,
    "index_error": None,
}
_INSERT = insert(Product)
# The index has all three columns. SQLite would take that of the unique key, and read each row.
_BINDINGS = (
    select(row_array(Product.milvus_id, Product.id, Product.group))
    .where(key_in(Product.milvus_id, bindparam("keys", type_=Text)))
    .with_hint(Product, "INDEXED BY ix_product_binding", "sqlite")
)
Outcome = Literal["created", "updated", "unchanged"]


def product_out(row: Product | ProductRow, addresses: Addresses) -> ProductOut:
    """Return the row as the API shows it; what the table holds was checked when it was written."""
    return ProductOut.model_construct(
        product_id=row.id,
        sku=row.sku,
        title=row.title,
        description=row.description,
        category=row.category,
        brand=row.brand,
        price=row.price,
        attributes=row.attributes,
        group=row.group,
        image_url=addresses.of(f"/product/{row.id}/image") if row.image_hash else None,
        image_generated=row.image_generated,
        milvus_id=str(row.milvus_id),
        revision=row.revision,
        index_status=IndexStatus(row.index_status),
        index_error=row.index_error,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def find_product(session: Session, product_id: int, *, for_update: bool = False) -> Product:
    """Return the row, locked until the transaction ends if it is for an update.

    Raises:
        ProductNotFound: there is no such product.
    """
    row = session.get(Product, product_id, with_for_update=for_update or None)
    if row is None:
        raise ProductNotFound(f"商品 {product_id} 不存在")
    return row


def find_variants(session: Session, product: Product) -> list[int]:
    """Return the milvus_ids of the products of the product's group; its own where it has none."""
    if product.group is None:
        return [product.milvus_id]
    return list(session.scalars(select(Product.milvus_id).where(Product.group == product.group)))


def find_by_sku(session: Session, sku: str) -> int | None:
    """Return the milvus_id of the product with this sku; None where there is none."""
    return session.scalar(select(Product.milvus_id).where(Product.sku == sku))


def upsert_by_sku(session: Session, rows: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    """Add or change products, each known by its sku, in the session's transaction.

    Columns that a row leaves out stay as they are, or take a new product's default. Nobody waits
    for one of them: their index work is of the background.

    Args:
        session: the transaction.
        rows: columns by name; no two rows have the same sku.
    """
    read_committed(session)
    skus = [row["sku"] for row in rows]
    found = session.scalars(select(Product).where(Product.sku.in_(skus)).with_for_update())
    products = {product.sku: product for product in found}
    _insert_products(session, [row for row in rows if row["sku"] not in products])
    return [_upsert(session, products.get(row["sku"]), row) for row in rows]


def _upsert(session: Session, product: Product | None, row: Mapping[str, Any]) -> Outcome:
    """Change the product, if it was there; return what became of the row."""
    if product is None:
        return "created"
    changed = change_product(session, product, row, events.Priority.background)
    return "updated" if changed else "unchanged"


def _insert_products(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows and their events, in two statements however many they are.

    The ids are never read: MySQL has no INSERT … RETURNING, and milvus_id names a row as well.
    """
    if not rows:
        return
    now = datetime.now(UTC)
    new = [
        _DEFAULTS
        | _with_derived(row)
        | {"milvus_id": draw_primary_key(), "created_at": now, "updated_at": now}
        for row in rows
    ]
    session.execute(insert(Product), new)
    catalog_events.record_new(session, [row["milvus_id"] for row in new])


def insert_product(session: Session, columns: Mapping[str, Any]) -> Product:
    """Insert a row and its outbox event, and return the row, which the session does not hold."""
    # Not by the unit of work, which costs more than both statements (benchmarks.write_throughput).
    result: Any = session.connection().execute(_INSERT, _with_derived(columns))
    key = {"id": result.inserted_primary_key[0]}
    product = Product(**result.last_inserted_params(), **key)
    events.record(session, product, events.Operation.upsert)
    return product


def _with_derived(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return a new product's columns with those that others give, unless they are given too."""
    brand = columns.get("brand")
    group = named_group(brand, columns.get("attributes") or {})
    return {"group": group, **columns, "title_key": title_key(columns["title"], brand)}


def _with_group(product: Product, columns: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the changes with the group's, where it is the one that brand and attributes name.

    A group that somebody has given, or taken away, stays.
    """
    if "group" in columns or not columns.keys() & {"brand", "attributes"}:
        return columns
    if product.group != named_group(product.brand, product.attributes):
        return columns
    brand = columns.get("brand", product.brand)
    named = named_group(brand, columns.get("attributes", product.attributes))
    return {**columns, "group": named}


def change_product(
    session: Session,
    product: Product,
    columns: Mapping[str, Any],
    priority: events.Priority = events.Priority.person,
) -> set[str]:
    """Set the columns that differ; where Milvus holds one of them, record an outbox event.

    Returns the names of these columns.
    """
    columns = _with_group(product, columns)
    changed = {name for name, value in columns.items() if _differ(getattr(product, name), value)}
    if not changed:
        return changed
    for name in changed:
        setattr(product, name, columns[name])
    product.updated_at = datetime.now(UTC)
    if changed & {"title", "brand"}:
        product.title_key = title_key(product.title, product.brand)
    if "image_hash" in changed:
        product.image_phash = None  # the new image's comes when it is indexed
    if changed & INDEXED_COLUMNS:
        product.revision += 1
        product.index_status = IndexStatus.pending
        product.index_error = None
        events.record(session, product, events.Operation.upsert, priority)
    return changed


def _differ(old: object, new: object) -> bool:
    """Compare two values of a column; in attributes True is not 1, and key order is nothing."""
    if isinstance(old, dict) and isinstance(new, dict):
        return not same_json(old, new)
    return old != new


class BoundProduct(NamedTuple):
    """A product that an entity is bound to, and the group that it is a variant of."""

    id: int
    group: str | None


class BoundProducts(NamedTuple):
    """Products that entities are bound to."""

    products: Mapping[int, BoundProduct]  # by milvus_id
    rows: Mapping[int, ProductRow]  # by id, of some of them


def bound_products(
    session: Session,
    milvus_ids: Sequence[int],
    conditions: Sequence[ColumnElement[bool]],
    choose: Callable[[Mapping[int, BoundProduct]], Sequence[int]],
) -> BoundProducts:
    """Return the bound products that meet the conditions, in no order.

    Of these, by milvus_id, `choose` returns the ids of those whose rows are wanted.
    """
    bound = _BINDINGS.where(*conditions) if conditions else _BINDINGS
    keys = {"keys": write_keys(milvus_ids)}
    values = read_rows(session.connection().scalar(bound, keys))
    found = {key: BoundProduct(product_id, group) for key, product_id, group in values}
    rows: dict[int, ProductRow] = {}
    gone: set[int] = set()
    # Where a server's transactions read what is committed, some go between two statements, and
    # others are chosen in their place.
    while missing := [one for one in choose(found) if one not in rows and one not in gone]:
        rows |= {row.id: row for row in products_by_id(session, missing)}
        gone.update(one for one in missing if one not in rows)
        if not gone:
            break
        found = {key: one for key, one in found.items() if one.id not in gone}
    return BoundProducts(found, rows)
