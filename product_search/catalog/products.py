"""Create, read, update and delete products: one transaction per use case, outbox event included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from data_models import (
    ChangeOperation,
    IndexStatus,
    PictureOfGeneration,
    ProductCreated,
    ProductListQuery,
    ProductOut,
    ProductPage,
    ProductUpdated,
)
from orm_models import Database, Product
from product_search.access.addresses import OPEN, Addresses
from product_search.catalog.identity import find_duplicates, title_key
from product_search.catalog.listing import fetch_page
from product_search.catalog.rows import (
    INDEXED_COLUMNS,
    change_product,
    find_product,
    insert_product,
    product_out,
)
from product_search.changes.record import Subject, record_change
from product_search.errors import DuplicateSku, ImageNotFound
from product_search.images.decoding import image_warnings
from product_search.images.provenance import says_generated
from product_search.images.store import ImageStore, StoredImage
from product_search.outbox import catalog_events, events
from product_search.outbox.admission import OpenGate
from product_search.runs import generations

_RETRY_BATCH = 500


class _KeepImage:
    """The type of KEEP_IMAGE."""


KEEP_IMAGE = _KeepImage()
NewImage = bytes | PictureOfGeneration | None
Image = NewImage | _KeepImage


@dataclass(frozen=True)
class Catalog:
    """The catalog's use cases: one transaction each, outbox event included.

    Attributes:
        database: the store of the rows.
        images: the store of the images that rows name.
        gate: asked before each write whether the outbox has room for its events, and notified
            after each write that left some.
        addresses: makes the addresses of the products' images.
    """

    database: Database
    images: ImageStore
    gate: OpenGate = field(default_factory=OpenGate)
    addresses: Addresses = OPEN

    def create(self, fields: Mapping[str, Any], image: NewImage) -> ProductCreated:
        """Add a product, and name the products that it duplicates.

        Args:
            fields: validated columns by name, the image's excepted.
            image: its image, of a file or of a generation.

        Raises:
            DuplicateSku: another product has the sku.
            InvalidImage, ImageTooLarge, ImageTooManyPixels, ImageTooComplex: the file is no image
                that is taken.
            GenerationNotFound, ImageNotFound: there is no such generated image.
            OutboxFull: too much index work waits. After none of these anything was written.
        """
        self.gate.admit(1)
        columns = dict(fields) | self.keep_image(image)
        key = title_key(columns["title"], columns.get("brand"))
        # Generated images prove nothing of the goods: the same one may stand for any of them.
        photo_hash = None if columns["image_generated"] else columns["image_hash"]

        def add(session: Session) -> tuple[Product, list[int]]:
            duplicates = find_duplicates(session, key, photo_hash)
            product = insert_product(session, columns)
            record_change(session, ChangeOperation.product_created, Subject("product", product.id))
            return product, duplicates

        with _unique_sku(fields):
            product, duplicates = self.database.write(add)
        self.gate.notify()
        return ProductCreated(
            **dict(self._shown(product)), duplicates=duplicates, warnings=_warnings(image)
        )

    def get(self, product_id: int) -> ProductOut:
        """Return a product. Raises ProductNotFound."""
        return self._shown(self.database.read(find_product, product_id))

    def update(self, product_id: int, changes: Mapping[str, Any], image: Image) -> ProductUpdated:
        """Change the given columns and the image.

        Args:
            product_id: the product to change.
            changes: validated columns by name, the image's excepted.
            image: the new image, None to remove it, or KEEP_IMAGE.

        Raises:
            ProductNotFound: there is no such product.
            DuplicateSku: another product has the sku.
            InvalidImage, ImageTooLarge, ImageTooManyPixels, ImageTooComplex: the file is no image
                that is taken.
            GenerationNotFound, ImageNotFound: there is no such generated image.
            OutboxFull: too much index work waits. After none of these anything was written.
        """
        self.get(product_id)  # before an image is stored for nobody
        if changes.keys() & INDEXED_COLUMNS or not isinstance(image, _KeepImage):
            self.gate.admit(1)
        columns = dict(changes)
        if not isinstance(image, _KeepImage):
            columns |= self.keep_image(image)

        def change(session: Session) -> Product:
            product = find_product(session, product_id, for_update=True)
            changed = change_product(session, product, columns)
            if changed:
                what, detail = ChangeOperation.product_updated, {"fields": sorted(changed)}
                record_change(session, what, Subject("product", product_id), detail)
            return product

        with _unique_sku(changes):
            product = self.database.write(change)
        self.gate.notify()
        return ProductUpdated(**dict(self._shown(product)), warnings=_warnings(image))

    def delete(self, product_id: int) -> None:
        """Delete a product, which leaves every answer at once.

        Raises ProductNotFound, OutboxFull.
        """
        self.get(product_id)
        self.gate.admit(1)

        def remove(session: Session) -> None:
            product = find_product(session, product_id, for_update=True)
            events.record(session, product, events.Operation.delete)
            session.delete(product)
            told = {"sku": product.sku, "title": product.title}  # nothing else tells it any more
            what = ChangeOperation.product_deleted
            record_change(session, what, Subject("product", product_id), told)

        self.database.write(remove)
        self.gate.notify()

    def retry(self, product_id: int | None = None) -> int:
        """Enqueue the product, or all products, whose indexing was given up; return their count.

        Raises:
            ProductNotFound: there is no such product.
        """
        given_up = select(Product).where(Product.index_status == IndexStatus.failed)
        priority = events.Priority.background if product_id is None else events.Priority.person
        if product_id is not None:
            self.get(product_id)
            given_up = given_up.where(Product.id == product_id)

        def again(session: Session, batch: Select[Product]) -> list[int]:
            retried = catalog_events.retry(session, batch, priority)
            if retried:
                subject = Subject("product", product_id, len(retried))
                record_change(session, ChangeOperation.product_retried, subject)
            return retried

        count = last = 0
        while True:
            batch = given_up.where(Product.id > last).order_by(Product.id).limit(_RETRY_BATCH)
            retried = self.database.write(again, batch)
            if not retried:
                return count
            count, last = count + len(retried), retried[-1]
            self.gate.notify()

    def list(self, query: ProductListQuery) -> ProductPage:
        """Return one page of the products that meet the query."""
        return self.database.read(fetch_page, query, self.addresses)

    def image(self, product_id: int, side: int | None) -> StoredImage:
        """Return the product's image as it is shown, or a thumbnail within side × side pixels.

        Raises:
            ProductNotFound: there is no such product.
            ImageNotFound: it has no image, or the image's file is gone.
        """
        image_hash = self.database.read(find_product, product_id).image_hash
        if image_hash is None:
            raise ImageNotFound(f"商品 {product_id} 没有图片")
        if side is None:
            return self.images.shown(image_hash)
        return self.images.thumbnail(image_hash, side)

    def _shown(self, product: Product) -> ProductOut:
        return product_out(product, self.addresses)

    def keep_image(self, image: NewImage) -> dict[str, Any]:
        """Store the image, and return the columns that name it.

        Raises:
            InvalidImage, ImageTooLarge, ImageTooManyPixels, ImageTooComplex: the file is no image
                that is taken.
            GenerationNotFound, ImageNotFound: there is no such generated image.
            StorageUnavailable: the image can't be written.
        """
        if image is None:
            return {"image_hash": None, "image_generated": False}
        if isinstance(image, bytes):
            image_hash, content = self.images.save_upload(image), image
        else:
            image_hash = generations.find_image_hash(self.database, image)
            content = self.images.reuse(image_hash)
        return {"image_hash": image_hash, "image_generated": says_generated(content)}


def _warnings(image: Image) -> list[str]:
    return image_warnings(image) if isinstance(image, bytes) else []


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
