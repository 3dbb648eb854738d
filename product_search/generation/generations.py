"""Generations as they are asked for: queued, shown, cancelled, dropped when they are old."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel
from sqlalchemy import delete, func, select
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
from product_search.database.clock import database_clock
from product_search.errors import (
    GenerationFinished,
    ImageNotFound,
    ProductNotFound,
    QueueFull,
)
from product_search.generation import prompts
from product_search.generation.diffusers import ImageGenerator
from product_search.generation.prompts import Described
from product_search.images.store import ImageStore, StoredImage
from product_search.runs import generations as generated, queue as runs
from product_search.runs.generations import GenerationImage
from product_search.runs.queue import UNFINISHED, RunKind, RunState

PATH = "/generate"


class Job(BaseModel):
    """What a generation's run is to do: the request with nothing left open, and what it builds."""

    request: GenerationRequest
    prompt: str
    negative_prompt: str | None
    subject: str

    def seed(self, number: int) -> int:
        """Of the image of this number, from 1."""
        assert self.request.seed is not None, "it was drawn when the generation was queued"
        return (self.request.seed + number - 1) % 2**32


@dataclass(frozen=True)
class Generations:
    """The use cases; what is queued is carried out by `generating`."""

    database: Database
    images: ImageStore
    generator: ImageGenerator
    previews: Path
    max_queued: int
    keep: timedelta

    def queue(self, request: GenerationRequest) -> GenerationAccepted:
        """A generation that waits for its turn.

        Raises:
            GenerationModelMissing, ProductNotFound, QueueFull: nothing was queued.
            DatabaseUnavailable, OutcomeUnknown.
        """
        self.generator.check()
        job = self._job(request)

        def add(session: Session) -> int:
            waiting = select(func.count()).where(
                Run.kind == RunKind.generate, Run.state == RunState.queued
            )
            if (session.scalar(waiting) or 0) >= self.max_queued:
                raise QueueFull(f"排队的图片生成过多（{self.max_queued} 个），请稍后重试")
            return runs.enqueue(session, RunKind.generate, job.model_dump(mode="json")).id

        with self.database.alone("generate"):  # two at once would both see the last free place
            generation_id = self.database.write(add)
        return GenerationAccepted(generation_id=generation_id, status_url=f"{PATH}/{generation_id}")

    def _job(self, request: GenerationRequest) -> Job:
        product = None if request.product_id is None else self._described(request.product_id)
        given = request.model_dump()
        given["steps"] = request.steps or self.generator.default_steps
        if request.guidance is None:
            given["guidance"] = self.generator.default_guidance
        if request.seed is None:
            given["seed"] = secrets.randbits(32)
        return Job(
            request=GenerationRequest.model_validate(given),
            prompt=prompts.prompt(request.prompt, product, request.style),
            negative_prompt=prompts.negative_prompt(request.negative_prompt, request.style),
            subject=prompts.subject(request.prompt, product),
        )

    def _described(self, product_id: int) -> Described:
        product = self.database.read(lambda session: session.get(Product, product_id))
        if product is None:
            raise ProductNotFound(f"商品 {product_id} 不存在")
        return Described(product.title, product.category, product.attributes)

    def get(self, generation_id: int) -> GenerationOut:
        """How far it is, and its images. Raises GenerationNotFound."""
        return shown(self._run(generation_id))

    def page(self, query: GenerationQuery) -> GenerationPage:
        """The generations, the newest first."""
        found = select(Run).where(Run.kind == RunKind.generate).order_by(Run.id.desc())
        if query.before is not None:
            found = found.where(Run.id < query.before)
        more = found.limit(query.limit + 1)
        rows = self.database.read(lambda session: session.scalars(more).all())
        items = rows[: query.limit]
        return GenerationPage(
            items=[shown(run) for run in items],
            next_before=items[-1].id if len(rows) > query.limit else None,
        )

    def picture(self, wanted: PictureOfGeneration, side: int | None) -> StoredImage:
        """An image as it was made, or a thumbnail that fits in side × side pixels.

        Raises GenerationNotFound, ImageNotFound, StorageUnavailable.
        """
        image_hash = generated.find_image_hash(self.database, wanted)
        if side is None:
            return self.images.original(image_hash)
        return self.images.thumbnail(image_hash, side)

    def preview(self, generation_id: int) -> bytes:
        """A WebP of what the image in hand looks like so far.

        Raises GenerationNotFound; ImageNotFound where there is none, or not any more.
        """
        run = self._run(generation_id)
        try:
            return self.preview_path(run.id).read_bytes()
        except OSError as error:
            raise ImageNotFound(f"编号为 {generation_id} 的图片生成现在没有预览") from error

    def preview_path(self, generation_id: int) -> Path:
        """Where the preview of a generation lies while it is made."""
        return self.previews / f"{generation_id}.webp"

    def cancel(self, generation_id: int) -> None:
        """End it: at once where it waits, else after the step in hand.

        Raises GenerationNotFound, GenerationFinished.
        """

        def end(session: Session) -> None:
            run = generated.fetch_generation(session, generation_id)
            if not runs.cancel(session, run.id):
                session.refresh(run)
                raise GenerationFinished(
                    f"编号为 {generation_id} 的图片生成已经结束（{run.state}），不能再取消"
                )

        self.database.write(end)

    def clean(self) -> None:
        """Drop what is old, and previews that a process which died has left.

        Images that no product has taken are nobody's from then on: the doctor deletes them.
        """
        alive = self.database.write(self._drop_old)
        for path in self.previews.iterdir() if self.previews.is_dir() else ():
            if path.stem not in alive:
                path.unlink(missing_ok=True)

    def _drop_old(self, session: Session) -> set[str]:
        """The ids of those that have not ended."""
        before = database_clock(session) - self.keep
        of_ours = Run.kind == RunKind.generate
        session.execute(delete(Run).where(of_ours, Run.finished_at < before))
        unfinished = select(Run.id).where(of_ours, Run.state.in_(UNFINISHED))
        return {str(one) for one in session.scalars(unfinished)}

    def _run(self, generation_id: int) -> Run:
        return self.database.read(generated.fetch_generation, generation_id)


def shown(run: Run) -> GenerationOut:
    """The generation as the API shows it."""
    job = Job.model_validate(run.options)
    progress = generated.read_progress(run)
    is_seen = progress is not None and progress.has_preview and run.state == RunState.running
    pictures = progress.pictures if progress else []
    return GenerationOut.model_validate(
        {
            "generation_id": run.id,
            "state": run.state,
            "error": run.error,
            "prompt": job.prompt,
            "request": job.request,
            "model": progress and progress.model,
            "step": progress.step if progress else 0,
            "steps": progress and progress.steps,
            "preview_url": f"{PATH}/{run.id}/preview" if is_seen else None,
            "pictures": [_image(run.id, one) for one in pictures],
            "no_match": bool(pictures) and all(one.fits is False for one in pictures),
            "created_at": run.created_at,
            "finished_at": run.finished_at,
        }
    )


def _image(generation_id: int, made: GenerationImage) -> GeneratedImage:
    return GeneratedImage(
        number=made.number,
        image_url=f"{PATH}/{generation_id}/image/{made.number}",
        seed=made.seed,
        score=made.score,
        confidence=made.confidence,
        fits=made.fits,
    )
