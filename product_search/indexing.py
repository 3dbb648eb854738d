"""From product row to entity in Milvus: the only writer of vectors."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from data_models import IndexStatus, VectorField
from nlp_models import EncoderPair
from orm_models import ActiveCollection, Database, OutboxEvent, Product
from product_search import outbox
from product_search.errors import AppError, ImageNotFound
from product_search.images import ImageStore
from vector_db import Entity, VectorStore, collection_name

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Indexer:
    """Applies outbox events; safe to repeat, since every write to Milvus is by a known key."""

    database: Database
    store: VectorStore
    images: ImageStore
    encoders: EncoderPair

    def activate_collection(self) -> None:
        """Open this encoder pair's collection; a new one is filled through the outbox.

        The queue is committed before the collection is made, so that a crash between the two
        leaves a collection that is missing, and noticed, rather than one that stays empty.
        """
        name = collection_name(self.encoders.fingerprint)
        active = self.database.read(lambda session: session.get(ActiveCollection, 1))
        if active is None or active.name != name:
            self.store.drop_collection(name)  # left from another time: nobody kept it in step
        if not self.store.has_collection(name):
            log.info("collection %s is new: every product is queued for indexing", name)
            self._queue_all(name)
        self.store.open_collection(name, self._dims())
        if active is not None and active.name != name:
            self.store.drop_collection(active.name)

    def _queue_all(self, name: str) -> None:
        fingerprint = self.encoders.fingerprint

        def queue(session: Session) -> None:
            session.merge(ActiveCollection(id=1, name=name, encoder_fingerprint=fingerprint))
            outbox.record_all(session)

        self.database.write(queue)

    def _dims(self) -> dict[VectorField, int]:
        clip = self.encoders.image_text.dim
        return {
            VectorField.image_clip: clip,
            VectorField.text_clip: clip,
            VectorField.text_bge: self.encoders.text.dim,
        }

    def apply_oldest(self, limit: int) -> int:
        """Bring Milvus up to the oldest events; how many there were."""
        events, products = self.database.read(lambda session: _oldest(session, limit))
        if not events:
            return 0
        try:
            self._apply(events, products)
        except AppError:  # a store is down: nothing is wrong with the products
            raise
        except Exception:  # whatever an encoder may raise at one product's content
            log.exception("a batch of %d products failed: they are tried one by one", len(products))
            self._apply_one_by_one(events, products)
        return len(events)

    def _apply_one_by_one(self, events: Sequence[OutboxEvent], products: Sequence[Product]) -> None:
        """One product that can't be indexed does not hold back the others."""
        rows = {product.id: product for product in products}
        for product_id in {event.product_id for event in events}:
            own = [event for event in events if event.product_id == product_id]
            row = [rows[product_id]] if product_id in rows else []
            try:
                self._apply(own, row)
            except AppError:
                raise
            except Exception as error:  # as above, now with the product known
                self._check_encoders()
                log.exception("product %d can't be indexed", product_id)
                self._mark(own, row, {product_id: f"{type(error).__name__}: {error}"[:500]})

    def _check_encoders(self) -> None:
        """Raise what the plainest input raises: then no product is at fault, and all wait."""
        self.encoders.encode_titles(["商品"])
        self.encoders.image_text.encode_images([Image.new("RGB", (32, 32))])

    def _apply(self, events: Sequence[OutboxEvent], products: Sequence[Product]) -> None:
        """Products that are there are written as they are now; the others leave Milvus."""
        there = {product.id for product in products}
        gone = {event.milvus_id for event in events if event.product_id not in there}
        pictures, failures = self._load_pictures(products)
        self.store.upsert(self._entities(products, pictures))
        self.store.delete(sorted(gone))
        self._mark(events, products, failures)

    def _mark(
        self,
        events: Sequence[OutboxEvent],
        products: Sequence[Product],
        failures: Mapping[int, str],
    ) -> None:
        """Say of each product whether it is indexed or why not, and forget the events."""

        def mark(session: Session) -> None:
            for product in products:
                reason = failures.get(product.id)
                status = IndexStatus.failed if reason else IndexStatus.indexed
                # A newer revision has an event of its own, and stays pending.
                session.execute(
                    update(Product)
                    .where(Product.id == product.id, Product.revision == product.revision)
                    .values(index_status=status, index_error=reason)
                )
            outbox.mark_done(session, events)

        self.database.write(mark)

    def _load_pictures(
        self, products: Sequence[Product]
    ) -> tuple[dict[int, Image.Image], dict[int, str]]:
        """By product id: the pictures, and why those that can't be read can't.

        Such a product is indexed by its title alone.
        """
        pictures: dict[int, Image.Image] = {}
        failures: dict[int, str] = {}
        for product in products:
            if product.image_hash is None:
                continue
            try:
                pictures[product.id] = self.images.load(product.image_hash)
            except ImageNotFound as error:
                log.warning("picture of product %d: %s", product.id, error)
                failures[product.id] = error.message
        return pictures, failures

    def _entities(
        self, products: Sequence[Product], pictures: dict[int, Image.Image]
    ) -> list[Entity]:
        titles = [product.title for product in products]
        documents, texts = self.encoders.encode_titles(titles)
        images = self.encoders.image_text.encode_images(list(pictures.values()))
        image_vectors = dict(zip(pictures, images, strict=True))
        return [
            Entity(
                milvus_id=product.milvus_id,
                product_id=product.id,
                revision=product.revision,
                title=product.title,
                category=product.category,
                brand=product.brand,
                price=product.price,
                image_path=product.image_hash,
                image_clip_vector=image_vectors.get(product.id),
                text_clip_vector=text,
                text_bge_vector=document,
            )
            for product, text, document in zip(products, texts, documents, strict=True)
        ]


def _oldest(session: Session, limit: int) -> tuple[Sequence[OutboxEvent], Sequence[Product]]:
    """The events that have waited longest, and those of their products that are there."""
    events = outbox.oldest(session, limit)
    if not events:
        return events, []
    found = select(Product).where(Product.id.in_({event.product_id for event in events}))
    return events, session.scalars(found).all()
