"""From product row to entity in Milvus: the only writer of vectors.

With Kafka this is also where a message ends: `Indexer.consume` indexes what it names, and commits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from PIL import Image
from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from data_models import IndexStatus
from nlp_models import EncoderPair
from orm_models import Database, Product, VectorCollection
from product_search import tracing
from product_search.batching import background
from product_search.context import join_request_ids, within_request
from product_search.database.clock import Clock, database_clock
from product_search.errors import IN_THE_LOG, AppError, StorageUnavailable
from product_search.images.perceptual_hash import perceptual_hash
from product_search.images.store import ImageStore
from product_search.indexing.collections import LiveCollections, OpenCollection, Role, fetch_live
from product_search.milvus.entities import Entity
from product_search.outbox import events
from product_search.outbox.events import Claim, ClaimItem, ClaimPolicy
from product_search.outbox.kafka import Consumer
from product_search.runs.background import keep_lease
from product_search.text.analysis import plain
from product_search.text.document import Described, document, document_terms
from product_search.text.vocabulary import Vocabulary, product_words

log = logging.getLogger(__name__)

POLL_S = 0.5  # how long a step waits for Kafka's messages
_LOCKED_S = 0.02  # a transaction that marks a product's events is over by then
_LOCKED_AT_MOST_S = 5.0
Rows = Mapping[Role, VectorCollection]
Targets = Sequence[tuple[Role, OpenCollection]]
# A newer revision has an event of its own, and stays pending.
_MARK_INDEXED = (
    update(Product)
    .where(Product.id == bindparam("product"), Product.revision == bindparam("seen"))
    .values(index_status=IndexStatus.indexed, index_error=None, image_phash=bindparam("hash"))
)


@dataclass(frozen=True)
class Indexer:
    """Applies outbox events to Milvus; safe to repeat, since every write is by a known key."""

    database: Database
    images: ImageStore
    collections: LiveCollections
    policy: ClaimPolicy = field(default_factory=ClaimPolicy)
    clock: Clock = database_clock
    vocabulary: Vocabulary = field(default_factory=Vocabulary)  # knows the words of what is found

    def apply_oldest(self, limit: int) -> int:
        """Index up to `limit` products, as a claim chooses them; return how many were claimed.

        Raises what a store or an encoder raises that is down; the products then wait as before.
        """
        rows, is_due = self._look(None)
        return len(self._claim_and_apply(rows, limit, None)) if is_due else 0

    def apply_products(self, product_ids: Collection[int]) -> None:
        """Index those of these products that wait and that no other worker has claimed.

        A claim passes over a row that another transaction, such as the relay's, has locked for a
        moment: it is tried until it is claimed, or no longer due, or was locked for long.
        """
        left = set(product_ids)
        until = time.monotonic() + _LOCKED_AT_MOST_S
        while left and time.monotonic() < until:
            rows, is_due = self._look(left)
            if not is_due:
                return
            done = self._claim_and_apply(rows, len(left), left)
            left -= {item.product_id for item in done}
            if done:
                until = time.monotonic() + _LOCKED_AT_MOST_S
            else:
                time.sleep(_LOCKED_S)

    def consume(self, consumer: Consumer, limit: int) -> int:
        """Index the products of the next messages and commit these; return how many products.

        What people have written comes before the messages, an import's perhaps, that are in the
        topic before its own: it is taken from the database.

        A product that nobody waits for, that is claimed, pauses or stays locked, is passed over:
        the first is a duplicate, the others are published again when they are due.

        Raises what apply_products raises, and KafkaUnavailable; the messages then come again.
        """
        batch = consumer.poll(limit, POLL_S)
        if batch is None:
            return 0
        try:
            self.apply_products(
                self.database.read(events.find_urgent, limit, self.policy, self.clock)
            )
            self.apply_products(batch.product_ids)
        except Exception:  # whatever it was, the messages must come again
            consumer.rewind(batch)
            raise
        consumer.commit(batch)
        return len(batch.product_ids)

    def _look(self, among: Collection[int] | None) -> tuple[Rows, bool]:
        """Return the live collections, and whether a claim would find any of the products."""

        def look(session: Session) -> tuple[Rows, bool]:
            return fetch_live(session), events.is_due(session, self.policy, self.clock, among)

        return self.database.read(look)

    def _claim_and_apply(
        self, rows: Rows, limit: int, among: Collection[int] | None
    ) -> Sequence[ClaimItem]:
        self.collections.open_all(rows)  # before a claim that could not be carried out
        claim, rows = self.database.write(self._claim, limit, among)
        if not claim.items:  # others were faster
            return []
        asked = join_request_ids(item.request_id for item in claim.items) or ""
        traced = tracing.span("index", products=len(claim.items), request_ids=asked)
        with traced, keep_lease(partial(self._renew, claim), self.policy.lease), background():
            try:
                self._apply_claim(claim, self.collections.open_all(rows))
            except Exception:  # whatever it was, it was no product's fault
                self._release(claim)
                raise
        return claim.items

    def _claim(
        self, session: Session, limit: int, among: Collection[int] | None
    ) -> tuple[Claim, Rows]:
        """Claim, then read the live collections: any older than the events is among these."""
        claim = events.claim(session, limit, self.policy, self.clock, among)
        return claim, fetch_live(session)

    def _renew(self, claim: Claim) -> set[int]:
        lease, clock = self.policy.lease, self.clock
        return self.database.write(events.renew, claim, lease, clock)

    def _release(self, claim: Claim) -> None:
        try:
            self.database.write(events.release, claim)
        except AppError as error:
            log.warning("a claim stays until its lease ends: %s", error)

    def _apply_claim(self, claim: Claim, targets: Targets) -> None:
        """Index all items at once, and those that failed before, or fail now, one by one."""
        fresh = [item for item in claim.items if not item.attempts]
        single = [item for item in claim.items if item.attempts]
        try:
            self._apply(claim, fresh, targets)
        except AppError:  # a store is down: nothing is wrong with the products
            raise
        except Exception:  # whatever an encoder may raise at one product's content
            with within_request(join_request_ids(item.request_id for item in fresh)):
                log.exception("a batch of %d products failed: each is tried alone", len(fresh))
            single = [*fresh, *single]
        for item in single:
            with within_request(item.request_id):
                self._apply_single(claim, item, targets)

    def _apply_single(self, claim: Claim, item: ClaimItem, targets: Targets) -> None:
        try:
            self._apply(claim, [item], targets)
        except AppError:
            raise
        except Exception:  # as above, but here it is known which product
            for _, target in targets:
                _check(target.encoders)
            told = {"product_id": item.product_id}
            log.exception("product %d could not be indexed", item.product_id, extra=told)
            self._settle(claim, [item], [], {item.product_id: IN_THE_LOG}, {})

    def _apply(self, claim: Claim, items: Sequence[ClaimItem], targets: Targets) -> None:
        """Write products as they are now; delete the entities of those that are gone."""
        if not items:
            return
        products = self.database.read(_fetch_products, [item.product_id for item in items])
        images, failures = self._load_images(products, items)
        entities = [
            (target, _entities(target.encoders, some, images))
            for target, some in _assign(products, items, targets)
        ]
        there = {product.id for product in products}
        gone = [item for item in items if item.product_id not in there]
        # What another worker has claimed meanwhile is its own to write.
        held = self._renew(claim)
        for product in products:
            self.vocabulary.add(product_words(product.title, product.brand))
        for target, made in entities:
            target.entities.upsert([entity for entity in made if entity.product_id in held])
            target.entities.delete([item.milvus_id for item in gone if item.product_id in held])
        written = [item for item in items if item.product_id in held]
        hashes = {product_id: perceptual_hash(image) for product_id, image in images.items()}
        self._settle(claim, written, products, failures, hashes)

    def _settle(
        self,
        claim: Claim,
        items: Sequence[ClaimItem],
        products: Sequence[Product],
        failures: Mapping[int, str],
        hashes: Mapping[int, bytes],
    ) -> None:
        """Save of each product whether it is indexed, and delete or postpone its events.

        A product that was lost to another worker while it was written may now be in Milvus as it
        was before that worker's write: it is enqueued again, whatever either has made of it.
        """

        def settle(session: Session) -> None:
            held = events.lock_held(session, claim, items)
            events.enqueue_again(session, [item for item in items if item.product_id not in held])
            ours = [item for item in items if item.product_id in held]
            written = [
                {
                    "product": product.id,
                    "seen": product.revision,
                    "hash": hashes.get(product.id),
                }
                for product in products
                if product.id in held and product.id not in failures
            ]
            if written:
                session.connection().execute(_MARK_INDEXED, written)
            events.mark_done(session, [item for item in ours if item.product_id not in failures])
            reasons = {
                item: failures[item.product_id][:500]
                for item in ours
                if item.product_id in failures
            }
            events.mark_failed(session, reasons, self.policy, self.clock)

        self.database.write(settle)

    def _load_images(
        self, products: Sequence[Product], items: Sequence[ClaimItem]
    ) -> tuple[dict[int, Image.Image], dict[int, str]]:
        """Return by product id the images, and the reasons where they can't be read.

        Such a product is indexed by its title alone, until its image can be read.
        """
        asked = {item.product_id: item.request_id for item in items}
        images: dict[int, Image.Image] = {}
        failures: dict[int, str] = {}
        for product in products:
            if product.image_hash is None:
                continue
            try:
                images[product.id] = self.images.load(product.image_hash)
            except StorageUnavailable:  # the image may be there
                raise
            except AppError as error:  # gone, damaged, or no longer within the limits
                with within_request(asked[product.id]):
                    told = {"product_id": product.id}
                    log.warning("image of product %d: %s", product.id, error, extra=told)
                failures[product.id] = error.message
        return images, failures


def _fetch_products(session: Session, product_ids: Collection[int]) -> Sequence[Product]:
    return session.scalars(select(Product).where(Product.id.in_(product_ids))).all()


def _check(encoders: EncoderPair) -> None:
    """Raise what the plainest input raises: then no product is at fault, and all wait."""
    encoders.encode_products(["商品"], ["商品"])
    encoders.image_text.encode_images([Image.new("RGB", (32, 32))])


def _assign(
    products: Sequence[Product], items: Sequence[ClaimItem], targets: Targets
) -> list[tuple[OpenCollection, list[Product]]]:
    """Return the products to write to each collection.

    All go to all, except that what only the filled collection lacks goes there alone.
    """
    lacking = {item.product_id for item in items if item.only_fill}
    elsewhere = [
        product
        for product in products
        if product.id not in lacking or product.index_status != IndexStatus.indexed
    ]
    is_filling = any(role is Role.filling for role, _ in targets)
    return [
        (target, list(products) if role is Role.filling or not is_filling else elsewhere)
        for role, target in targets
    ]


def _entities(
    encoders: EncoderPair, products: Sequence[Product], images: Mapping[int, Image.Image]
) -> list[Entity]:
    documents, texts = encoders.encode_products(
        [document(product.title, product.category, product.description) for product in products],
        [plain(product.title) for product in products],
    )
    with_image = [product.id for product in products if product.id in images]
    vectors = encoders.image_text.encode_images([images[one] for one in with_image])
    image_vectors = dict(zip(with_image, vectors, strict=True))
    return [
        Entity(
            milvus_id=product.milvus_id,
            product_id=product.id,
            revision=product.revision,
            title=product.title,
            search_text=document_terms(
                Described(
                    title=product.title,
                    description=product.description,
                    category=product.category,
                    brand=product.brand,
                    sku=product.sku,
                    attributes=product.attributes,
                )
            ),
            category=product.category,
            brand=product.brand,
            price=product.price,
            attributes=product.attributes,
            created_at=product.created_at,
            image_path=product.image_hash,
            image_clip_vector=image_vectors.get(product.id),
            text_clip_vector=text,
            text_bge_vector=document,
        )
        for product, text, document in zip(products, texts, documents, strict=True)
    ]
