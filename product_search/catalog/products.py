"""Create, read, update and delete products: one transaction per use case, outbox event included."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from sqlalchemy import ColumnElement, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from data_models import (
    IndexStatus,
    PictureOfGeneration,
    ProductCreated,
    ProductListQuery,
    ProductOut,
    ProductPage,
)
from orm_models import (
    Database,
    Product,
    draw_primary_key,
    list_walks,
    matching,
    with_title_part,
)
from product_search.catalog.identity import same_products, title_key
from product_search.database.column_types import same_json
from product_search.database.transactions import read_committed
from product_search.errors import DuplicateSku, ImageNotFound, ProductNotFound
from product_search.images.provenance import says_generated
from product_search.images.store import ImageStore, StoredImage, decode
from product_search.outbox import events
from product_search.runs import generations

# A change of these changes what Milvus holds; a change of the others does not.
_INDEXED = frozenset(
    {"title", "description", "category", "brand", "price", "attributes", "image_hash"}
)
_RETRIED_AT_ONCE = 500
# What a new product has where nothing is given; a bulk INSERT names the same columns in every row.
_EMPTY: dict[str, Any] = {
    "sku": None,
    "description": None,
    "category": None,
    "brand": None,
    "price": None,
    "attributes": {},
    "image_hash": None,
    "image_generated": False,
    "image_phash": None,
    "revision": 1,
    "index_status": IndexStatus.pending,
    "index_error": None,
}
_INSERT = insert(Product)
Outcome = Literal["created", "updated", "unchanged"]


class _KeepImage:
    """The type of KEEP_IMAGE."""


KEEP_IMAGE = _KeepImage()
Image = bytes | PictureOfGeneration | None | _KeepImage


def _admit_all(_events: int) -> None:
    """For whom no write is ever too many."""


@dataclass(frozen=True)
class Catalog:
    """The catalog's use cases; `on_commit` is told of each write that left index work.

    `admit` is asked before each write that may leave events, with how many; it raises OutboxFull.
    """

    database: Database
    images: ImageStore
    on_commit: Callable[[], None]
    admit: Callable[[int], None] = _admit_all

    def create(
        self, fields: Mapping[str, Any], image: bytes | PictureOfGeneration | None
    ) -> ProductCreated:
        """Add a product, and name those that are it already. `fields` are columns, validated.

        Raises:
            DuplicateSku: another product has the sku.
            InvalidImage, ImageTooLarge, ImageTooManyPixels, OutboxFull: nothing was written.
            GenerationNotFound, ImageNotFound: of a generated image; nothing was written.
        """
        self.admit(1)
        columns = dict(fields) | self._kept(image)
        key = title_key(columns["title"], columns.get("brand"))
        # Generated images prove nothing of the goods: the same one may stand for any of them.
        photo = None if columns["image_generated"] else columns["image_hash"]

        def add(session: Session) -> tuple[Product, list[int]]:
            same = same_products(session, key, photo)
            return insert_product(session, columns), same

        with _unique_sku(fields):
            product, same = self.database.write(add)
        self.on_commit()
        return ProductCreated(**dict(product.to_out()), duplicates=same)

    def get(self, product_id: int) -> ProductOut:
        """One product. Raises ProductNotFound."""
        return self._row(product_id).to_out()

    def update(self, product_id: int, changes: Mapping[str, Any], image: Image) -> ProductOut:
        """Change the given columns; `image` is a new one, None to remove it, or KEEP_IMAGE.

        Raises:
            ProductNotFound: no such product.
            DuplicateSku: another product has the sku.
            InvalidImage, ImageTooLarge, ImageTooManyPixels, OutboxFull: nothing was written.
            GenerationNotFound, ImageNotFound: of a generated image; nothing was written.
        """
        self.get(product_id)  # before an image is kept for nobody
        if changes.keys() & _INDEXED or not isinstance(image, _KeepImage):
            self.admit(1)
        columns = dict(changes)
        if not isinstance(image, _KeepImage):
            columns |= self._kept(image)

        def change(session: Session) -> Product:
            product = _locked(session, product_id)
            change_product(session, product, columns)
            return product

        with _unique_sku(changes):
            product = self.database.write(change)
        self.on_commit()
        return product.to_out()

    def delete(self, product_id: int) -> None:
        """Remove a product, out of every answer at once. Raises ProductNotFound, OutboxFull."""
        self.get(product_id)
        self.admit(1)

        def remove(session: Session) -> None:
            product = _locked(session, product_id)
            events.record(session, product, events.Operation.delete)
            session.delete(product)

        self.database.write(remove)
        self.on_commit()

    def retry(self, product_id: int | None = None) -> int:
        """Queue the product, or all, whose indexing was given up: how many were.

        Raises ProductNotFound where there is no such product.
        """
        if product_id is not None:
            self.get(product_id)
        given_up = select(Product).where(Product.index_status == IndexStatus.failed)
        if product_id is not None:
            given_up = given_up.where(Product.id == product_id)
        queued = last = 0
        while True:
            some = given_up.where(Product.id > last).order_by(Product.id).limit(_RETRIED_AT_ONCE)
            retried = self.database.write(partial(events.retry, given_up=some))
            if not retried:
                return queued
            queued, last = queued + len(retried), retried[-1]
            self.on_commit()

    def list(self, query: ProductListQuery) -> ProductPage:
        """One page of the products that meet the query."""
        conditions = _conditions(query)

        def page(session: Session) -> ProductPage:
            return ProductPage(
                items=[item.to_out() for item in _page(session, query, conditions)],
                total=_count(session, conditions),
                page=query.page,
                page_size=query.page_size,
            )

        return self.database.read(page)

    def picture(self, product_id: int, side: int | None) -> StoredImage:
        """The product's image as it came, or a thumbnail that fits in side × side pixels.

        Raises:
            ProductNotFound: no such product.
            ImageNotFound: it has no image, or its file is gone.
        """
        image_hash = self._row(product_id).image_hash
        if image_hash is None:
            raise ImageNotFound(f"商品 {product_id} 没有图片")
        if side is None:
            return self.images.original(image_hash)
        return self.images.thumbnail(image_hash, side)

    def keep_image(self, image: bytes | None) -> dict[str, Any]:
        """The columns that name the stored image, once it was read whole; or no image."""
        if image is None:
            return {"image_hash": None, "image_generated": False}
        known = self.images.find(image)  # was read whole when it was first kept
        if known is None:
            decode(image)
        image_hash = known or self.images.save(image)
        return {"image_hash": image_hash, "image_generated": says_generated(image)}

    def _kept(self, image: bytes | PictureOfGeneration | None) -> dict[str, Any]:
        """As keep_picture. Raises GenerationNotFound, ImageNotFound."""
        if isinstance(image, PictureOfGeneration):
            return self.keep_image(
                self.images.original(generations.image_hash(self.database, image)).content
            )
        return self.keep_image(image)

    def _row(self, product_id: int) -> Product:
        row = self.database.read(lambda session: session.get(Product, product_id))
        return _found(row, product_id)


def upsert_by_sku(session: Session, rows: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    """Add or change products in the session's transaction; each row has a sku of its own.

    The columns that a row leaves out stay as they are, or as a new product has them.
    """
    read_committed(session)
    skus = [row["sku"] for row in rows]
    found = session.scalars(select(Product).where(Product.sku.in_(skus)).with_for_update())
    products = {product.sku: product for product in found}
    _insert_products(session, [row for row in rows if row["sku"] not in products])
    return [
        change_product(session, products[row["sku"]], row) if row["sku"] in products else "created"
        for row in rows
    ]


def _insert_products(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """New products and their events, in two statements however many they are.

    The ids are never read: MySQL has no INSERT … RETURNING, and milvus_id names a row as well.
    """
    if not rows:
        return
    now = datetime.now(UTC)
    new = [
        _EMPTY
        | _with_key(row)
        | {"milvus_id": draw_primary_key(), "created_at": now, "updated_at": now}
        for row in rows
    ]
    session.execute(insert(Product), new)
    events.record_new(session, [row["milvus_id"] for row in new])


def insert_product(session: Session, columns: Mapping[str, Any]) -> Product:
    """Add the row and its outbox event to the session's transaction, which holds neither."""
    # Not by the unit of work, which costs more than both statements (benchmarks.write_throughput).
    added: Any = session.connection().execute(_INSERT, _with_key(columns))
    drawn = {"id": added.inserted_primary_key[0]}
    product = Product(**added.last_inserted_params(), **drawn)
    events.record(session, product, events.Operation.upsert)
    return product


def _with_key(columns: Mapping[str, Any]) -> dict[str, Any]:
    return dict(columns) | {"title_key": title_key(columns["title"], columns.get("brand"))}


def change_product(session: Session, product: Product, columns: Mapping[str, Any]) -> Outcome:
    """Set what differs; a change of what Milvus holds raises the revision and leaves an event."""
    changed = {name for name, value in columns.items() if _differ(getattr(product, name), value)}
    if not changed:
        return "unchanged"
    for name in changed:
        setattr(product, name, columns[name])
    product.updated_at = datetime.now(UTC)
    if changed & {"title", "brand"}:
        product.title_key = title_key(product.title, product.brand)
    if "image_hash" in changed:
        product.image_phash = None  # the new image's comes when it is indexed
    if changed & _INDEXED:
        product.revision += 1
        product.index_status = IndexStatus.pending
        product.index_error = None
        events.record(session, product, events.Operation.upsert)
    return "updated"


def _differ(old: object, new: object) -> bool:
    """Whether a change is one; in attributes, True and 1 are not the same, key order is nothing."""
    if isinstance(old, dict) and isinstance(new, dict):
        return not same_json(old, new)
    return old != new


def _conditions(query: ProductListQuery) -> list[ColumnElement[bool]]:
    conditions = matching(query.filters())
    if query.q is not None:
        conditions.append(with_title_part(query.q))
    if query.index_status is not None:
        conditions.append(Product.index_status == query.index_status)
    return conditions


def _page(
    session: Session, query: ProductListQuery, conditions: Sequence[ColumnElement[bool]]
) -> list[Product]:
    """The products of the page, of one walk after the other until it is full."""
    if query.after_id is not None:
        conditions = [*conditions, Product.id > query.after_id]
    skipped = (query.page - 1) * query.page_size
    items: list[Product] = []
    for walk in list_walks(query.order):
        met = [*conditions, *walk.conditions]
        rows = select(Product).where(*met).order_by(*walk.order).offset(skipped)
        found = session.scalars(rows.limit(query.page_size - len(items))).all()
        items += found
        if len(items) == query.page_size:
            break
        # The walk has ended; the next one goes on from there.
        skipped = 0 if found or not skipped else skipped - _count(session, met)
    return items


def _count(session: Session, conditions: Sequence[ColumnElement[bool]]) -> int:
    counted = select(func.count()).select_from(Product).where(*conditions)
    return session.scalar(counted) or 0


def _locked(session: Session, product_id: int) -> Product:
    return _found(session.get(Product, product_id, with_for_update=True), product_id)


def _found(product: Product | None, product_id: int) -> Product:
    if product is None:
        raise ProductNotFound(f"商品 {product_id} 不存在")
    return product


@contextmanager
def _unique_sku(fields: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        sku = fields.get("sku")
        if sku is None:
            raise
        reason = "已被另一个商品使用"
        raise DuplicateSku(f"sku {sku!r} {reason}", {"sku": reason}) from error
