"""The use cases of generations: enqueue, get, list, cancel, drop when they are old."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel
from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from data_models import (
    GeneratedImage,
    GenerationAccepted,
    GenerationOut,
    GenerationPage,
    GenerationQuery,
    GenerationRequest,
    PictureOfGeneration,
)
from orm_models import Database, Product, Run
from product_search.access.addresses import OPEN, Addresses
from product_search.database.clock import database_clock
from product_search.errors import (
    GenerationFinished,
    ImageNotFound,
    ProductNotFound,
    QueueFull,
)
from product_search.generation.generator import ImageGenerator
from product_search.generation.prompts import (
    ProductFacts,
    build_negative_prompt,
    build_prompt,
    build_subject,
)
from product_search.images.store import ImageStore, StoredImage
from product_search.runs import queue
from product_search.runs.generations import (
    GenerationImage,
    fetch_generation,
    find_image_hash,
    read_progress,
)
from product_search.runs.queue import UNFINISHED, RunKind, RunState

PATH = "/generate"


class GenerationOptions(BaseModel):
    """The options of a generation's run: the request with nothing left open, and its prompts."""

    request: GenerationRequest
    prompt: str
    negative_prompt: str | None
    subject: str

    def image_seed(self, number: int) -> int:
        """Return the seed of the image of this number, from 1."""
        assert self.request.seed is not None, "it was drawn when the generation was enqueued"
        return (self.request.seed + number - 1) % 2**32


@dataclass(frozen=True)
class Generations:
    """The use cases of generations; GenerationHandler carries out their runs.

    Attributes:
        previews: the folder of the previews of generations that are under way.
        max_queued: generations that may wait; more are refused.
        keep: for how long a generation is kept once it has ended.
        addresses: makes the addresses of the generations' images.
    """

    database: Database
    images: ImageStore
    generator: ImageGenerator
    previews: Path
    max_queued: int
    keep: timedelta
    addresses: Addresses = OPEN

    def enqueue(self, request: GenerationRequest) -> GenerationAccepted:
        """Enqueue a generation, which waits for its turn.

        Raises:
            GenerationModelMissing, ProductNotFound, QueueFull: nothing was enqueued.
            DatabaseUnavailable, OutcomeUnknown: the database fails.
        """
        self.generator.check()
        options = self._settle(request).model_dump(mode="json")

        def add(session: Session) -> int:
            waiting = select(func.count()).where(
                Run.kind == RunKind.generate, Run.state == RunState.queued
            )
            if (session.scalar(waiting) or 0) >= self.max_queued:
                raise QueueFull(f"排队的图片生成过多（{self.max_queued} 个），请稍后重试")
            return queue.enqueue(session, RunKind.generate, options).id

        with self.database.alone("generate"):  # two at once would both see the last free place
            generation_id = self.database.write(add)
        return GenerationAccepted(generation_id=generation_id, status_url=f"{PATH}/{generation_id}")

    def _settle(self, request: GenerationRequest) -> GenerationOptions:
        """Fill in what the request leaves open, and build the prompts."""
        product = None if request.product_id is None else self._fetch_facts(request.product_id)
        given = request.model_dump()
        given["steps"] = request.steps or self.generator.default_steps
        if request.guidance is None:
            given["guidance"] = self.generator.default_guidance
        if request.seed is None:
            given["seed"] = secrets.randbits(32)
        return GenerationOptions(
            request=GenerationRequest.model_validate(given),
            prompt=build_prompt(request.prompt, product, request.style),
            negative_prompt=build_negative_prompt(request.negative_prompt, request.style),
            subject=build_subject(request.prompt, product),
        )

    def _fetch_facts(self, product_id: int) -> ProductFacts:
        product = self.database.read(Session.get, Product, product_id)
        if product is None:
            raise ProductNotFound(f"商品 {product_id} 不存在")
        return ProductFacts(product.title, product.category, product.attributes)

    def get(self, generation_id: int) -> GenerationOut:
        """Return how far a generation is, and its images. Raises GenerationNotFound."""
        return _to_model(self._fetch(generation_id), self.addresses)

    def list(self, query: GenerationQuery) -> GenerationPage:
        """Return a page of generations, the newest first."""
        found = select(Run).where(Run.kind == RunKind.generate).order_by(Run.id.desc())
        if query.before is not None:
            found = found.where(Run.id < query.before)
        rows = self.database.read(_fetch_all, found.limit(query.limit + 1))
        items = rows[: query.limit]
        return GenerationPage(
            items=[_to_model(run, self.addresses) for run in items],
            next_before=items[-1].id if len(rows) > query.limit else None,
        )

    def get_image(self, wanted: PictureOfGeneration, side: int | None) -> StoredImage:
        """Return an image, which says how it was made, or a thumbnail within side × side pixels.

        Raises:
            GenerationNotFound, ImageNotFound, StorageUnavailable: there is no such image.
        """
        image_hash = find_image_hash(self.database, wanted)
        if side is None:
            return self.images.shown(image_hash)
        return self.images.thumbnail(image_hash, side)

    def read_preview(self, generation_id: int) -> bytes:
        """Return a WebP of what the image in hand looks like so far.

        Raises:
            GenerationNotFound: there is no such generation.
            ImageNotFound: there is no preview, or not any more.
        """
        run = self._fetch(generation_id)
        try:
            return self.preview_path(run.id).read_bytes()
        except OSError as error:
            raise ImageNotFound(f"编号为 {generation_id} 的图片生成现在没有预览") from error

    def preview_path(self, generation_id: int) -> Path:
        """Return where the preview of a generation lies while the generation is under way."""
        return self.previews / f"{generation_id}.webp"

    def cancel(self, generation_id: int) -> None:
        """Cancel a generation: at once where it waits, else after the step in hand.

        Raises:
            GenerationNotFound: there is no such generation.
            GenerationFinished: it has ended.
        """
        self.database.write(_cancel, generation_id)

    def drop_old(self) -> None:
        """Drop old generations, and previews that a process which died has left.

        Images that no product has taken are nobody's from then on: a repair deletes them.
        """
        unfinished = self.database.write(_drop_older, self.keep)
        for path in self.previews.iterdir() if self.previews.is_dir() else ():
            if path.stem not in unfinished:
                path.unlink(missing_ok=True)

    def _fetch(self, generation_id: int) -> Run:
        return self.database.read(fetch_generation, generation_id)


def _fetch_all(session: Session, runs: Select[Run]) -> Sequence[Run]:
    return session.scalars(runs).all()


def _cancel(session: Session, generation_id: int) -> None:
    run = fetch_generation(session, generation_id)
    if not queue.cancel(session, run.id):
        session.refresh(run)
        raise GenerationFinished(
            f"编号为 {generation_id} 的图片生成已经结束（{run.state}），不能再取消"
        )


def _drop_older(session: Session, keep: timedelta) -> set[str]:
    """Drop generations that ended longer ago; return the ids of those that have not ended."""
    before = database_clock(session) - keep
    is_generation = Run.kind == RunKind.generate
    session.execute(delete(Run).where(is_generation, Run.finished_at < before))
    unfinished = select(Run.id).where(is_generation, Run.state.in_(UNFINISHED))
    return {str(run_id) for run_id in session.scalars(unfinished)}


def _to_model(run: Run, addresses: Addresses) -> GenerationOut:
    """Turn a generation's run into the API's model."""
    options = GenerationOptions.model_validate(run.options)
    progress = read_progress(run)
    has_preview = progress is not None and progress.has_preview and run.state == RunState.running
    images = progress.pictures if progress else []
    return GenerationOut.model_validate(
        {
            "generation_id": run.id,
            "state": run.state,
            "error": run.error,
            "prompt": options.prompt,
            "request": options.request,
            "model": progress and progress.model,
            "step": progress.step if progress else 0,
            "steps": progress and progress.steps,
            "preview_url": addresses.of(f"{PATH}/{run.id}/preview") if has_preview else None,
            "pictures": [_to_image(run.id, image, addresses) for image in images],
            "no_match": bool(images) and all(image.fits is False for image in images),
            "created_at": run.created_at,
            "finished_at": run.finished_at,
        }
    )


def _to_image(generation_id: int, image: GenerationImage, addresses: Addresses) -> GeneratedImage:
    return GeneratedImage(
        number=image.number,
        image_url=addresses.of(f"{PATH}/{generation_id}/image/{image.number}"),
        seed=image.seed,
        score=image.score,
        confidence=image.confidence,
        fits=image.fits,
    )
