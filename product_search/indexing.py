"""From product row to entity in Milvus: the only writer of vectors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from PIL import Image
from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from data_models import IndexStatus, VectorField
from nlp_models import EncoderPair
from orm_models import ActiveCollection, Database, Product
from product_search import outbox
from product_search.errors import AppError, StartError, VectorStoreUnavailable
from product_search.images import ImageStore
from product_search.outbox import Claim, Clock, Policy, Work
from vector_db import Entity, VectorStore, collection_name

log = logging.getLogger(__name__)

# A newer revision has an event of its own, and stays pending.
_MARK_INDEXED = (
    update(Product)
    .where(Product.id == bindparam("product"), Product.revision == bindparam("seen"))
    .values(index_status=IndexStatus.indexed, index_error=None)
)


@dataclass(frozen=True)
class Indexer:
    """Applies outbox events; safe to repeat, since every write to Milvus is by a known key."""

    database: Database
    store: VectorStore
    images: ImageStore
    encoders: EncoderPair
    policy: Policy = field(default_factory=Policy)
    clock: Clock = outbox.database_clock

    def activate_collection(self) -> None:
        """Open this encoder pair's collection; a new one is filled through the outbox.

        The queue is committed before the collection is made, so that a crash between the two
        leaves a collection that is missing, and noticed, rather than one that stays empty.
        """
        with self.database.alone("collection"):  # of several services at their first start
            self._activate(collection_name(self.encoders.fingerprint))

    def _activate(self, name: str) -> None:
        active = self.database.read(lambda session: session.get(ActiveCollection, 1))
        if active is None or active.name != name:
            self.store.drop_collection(name)  # left from another time: nobody kept it in step
        if not self.store.has_collection(name):
            log.info("collection %s is new: every product is queued for indexing", name)
            self._queue_all(name)
        self.store.open_collection(name, self._dims())
        if active is not None and active.name != name:
            self.store.drop_collection(active.name)

    def join_collection(self) -> bool:
        """Open the collection that the service has made; False where it has not made it yet.

        Raises:
            StartError: the service uses other encoders.
        """
        name = collection_name(self.encoders.fingerprint)
        active = self.database.read(lambda session: session.get(ActiveCollection, 1))
        if active is not None and active.name != name:
            raise StartError(
                "服务使用的是另一种编码器：请让 PRODUCT_SEARCH_ENCODER 等设置与服务一致"
            )
        if active is None or not self.store.has_collection(name):
            return False
        self.store.open_collection(name, self._dims())
        return True

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
        """Bring Milvus up to the products that have waited longest; how many were claimed.

        Raises what a store or an encoder raises that is down; the products then wait as before.
        """
        if not self.database.read(self._is_due):
            return 0
        lease, clock = self.policy.lease, self.clock
        claim = self.database.write(lambda session: outbox.claim(session, limit, lease, clock))
        if not claim.works:  # others were faster
            return 0
        with self._kept(claim):
            try:
                self._apply_claim(claim)
            except Exception:  # whatever it was, it was no product's fault
                self._release(claim)
                raise
        return len(claim.works)

    def _is_due(self, session: Session) -> bool:
        """Vectors of other encoders than the searches' must not be written."""
        active = session.get(ActiveCollection, 1)
        if active is None or active.name != collection_name(self.encoders.fingerprint):
            raise VectorStoreUnavailable("在用的集合属于另一种编码器：请重启本进程")
        return outbox.is_due(session, self.clock)

    @contextmanager
    def _kept(self, claim: Claim) -> Iterator[None]:
        """However long the work takes, the lease does not end before it."""
        done = threading.Event()
        every = self.policy.lease.total_seconds() / 3

        def keep() -> None:
            while not done.wait(every):
                try:
                    self._renew(claim)
                except AppError as error:  # where the lease ends, that is noticed in the end
                    log.warning("a lease could not be renewed: %s", error)

        keeper = threading.Thread(target=keep, name="lease", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            done.set()
            keeper.join()

    def _renew(self, claim: Claim) -> set[int]:
        lease, clock = self.policy.lease, self.clock
        return self.database.write(lambda session: outbox.renew(session, claim, lease, clock))

    def _release(self, claim: Claim) -> None:
        try:
            self.database.write(lambda session: outbox.release(session, claim))
        except AppError as error:
            log.warning("a claim stays until its lease ends: %s", error)

    def _apply_claim(self, claim: Claim) -> None:
        """All at once; what failed before, or fails now, one by one: it holds back no other."""
        fresh = [work for work in claim.works if not work.attempts]
        alone = [work for work in claim.works if work.attempts]
        try:
            self._apply(claim, fresh)
        except AppError:  # a store is down: nothing is wrong with the products
            raise
        except Exception:  # whatever an encoder may raise at one product's content
            log.exception("a batch of %d products failed: they are tried one by one", len(fresh))
            alone = [*fresh, *alone]
        for work in alone:
            self._apply_alone(claim, work)

    def _apply_alone(self, claim: Claim, work: Work) -> None:
        try:
            self._apply(claim, [work])
        except AppError:
            raise
        except Exception as error:  # as above, now with the product known
            self._check_encoders()
            log.exception("product %d could not be indexed", work.product_id)
            self._settle(claim, [work], [], {work.product_id: f"{type(error).__name__}: {error}"})

    def _check_encoders(self) -> None:
        """Raise what the plainest input raises: then no product is at fault, and all wait."""
        self.encoders.encode_titles(["商品"])
        self.encoders.image_text.encode_images([Image.new("RGB", (32, 32))])

    def _apply(self, claim: Claim, works: Sequence[Work]) -> None:
        """Products that are there are written as they are now; the others leave Milvus."""
        if not works:
            return
        found = select(Product).where(Product.id.in_([work.product_id for work in works]))
        products = self.database.read(lambda session: session.scalars(found).all())
        pictures, failures = self._load_pictures(products)
        entities = self._entities(products, pictures)
        there = {product.id for product in products}
        gone = [work for work in works if work.product_id not in there]
        # What another worker has taken over meanwhile is its own to write.
        held = self._renew(claim)
        self.store.upsert([entity for entity in entities if entity.product_id in held])
        self.store.delete([work.milvus_id for work in gone if work.product_id in held])
        written = [work for work in works if work.product_id in held]
        self._settle(claim, written, products, failures)

    def _settle(
        self,
        claim: Claim,
        works: Sequence[Work],
        products: Sequence[Product],
        failures: Mapping[int, str],
    ) -> None:
        """Say of each product whether it is indexed, and forget or postpone its events.

        A product that was lost to another worker while it was written may now be in Milvus as it
        was before that worker's write: it is queued again, whatever either has made of it.
        """

        def settle(session: Session) -> None:
            held = outbox.hold(session, claim, works)
            outbox.requeue(session, [work for work in works if work.product_id not in held])
            ours = [work for work in works if work.product_id in held]
            written = [
                {"product": product.id, "seen": product.revision}
                for product in products
                if product.id in held and product.id not in failures
            ]
            if written:
                session.connection().execute(_MARK_INDEXED, written)
            outbox.mark_done(session, [work for work in ours if work.product_id not in failures])
            reasons = {
                work: failures[work.product_id][:500]
                for work in ours
                if work.product_id in failures
            }
            outbox.mark_failed(session, reasons, self.policy, self.clock)

        self.database.write(settle)

    def _load_pictures(
        self, products: Sequence[Product]
    ) -> tuple[dict[int, Image.Image], dict[int, str]]:
        """By product id: the pictures, and why those that can't be read can't.

        Such a product is indexed by its title alone, until its picture can be read.
        """
        pictures: dict[int, Image.Image] = {}
        failures: dict[int, str] = {}
        for product in products:
            if product.image_hash is None:
                continue
            try:
                pictures[product.id] = self.images.load(product.image_hash)
            except AppError as error:  # gone, damaged, or no longer within the limits
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
