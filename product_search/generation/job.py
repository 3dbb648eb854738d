"""Generations carried out: image after image, step by step; then scored, marked and kept."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from data_models import MatchPair, Verdict
from product_search.errors import (
    AppError,
    DatabaseUnavailable,
    GenerationFailed,
    OutcomeUnknown,
    VectorStoreUnavailable,
)
from product_search.generation.diffusers import ImageGenerator, Keeper, Step
from product_search.generation.generations import Generations, Job
from product_search.images.provenance import as_png, labelled
from product_search.runs import queue
from product_search.runs.executor import LEASE, RunContext, RunFailed, RunInterrupted
from product_search.runs.generations import GenerationImage, GenerationProgress
from product_search.search.fusion import cosines
from product_search.search.match import judge_pair
from product_search.search.search import SearchService
from product_search.text.analysis import plain

log = logging.getLogger(__name__)

_PREVIEW_S = 1.0  # between two previews: each costs the model a decoding
_PREVIEW_SIDE = 256


@dataclass(frozen=True)
class Generating:
    """Carries out generations; those that are old are dropped when one has ended."""

    generations: Generations
    keeper: Keeper
    retrieval: SearchService
    with_label: bool

    def handle(self, context: RunContext) -> None:
        """See Handler in runs.executor.

        Raises:
            RunFailed: the model is missing or fails; or a process has died over this generation,
                perhaps because of it, so that nobody begins it again.
        """
        context.on_finish(self.generations.clean)
        if context.claim.progress:
            raise RunFailed("生成中断了：服务在生成时意外停止。请重新生成")
        making = _Making(self, context)
        try:
            with self.keeper.in_use() as generator:
                making.make(generator)
        except RunInterrupted:
            making.undo()
            raise
        except (DatabaseUnavailable, OutcomeUnknown):
            raise
        except (AppError, GenerationFailed) as error:
            raise RunFailed(str(error)) from error
        finally:
            self.generations.preview_path(context.claim.id).unlink(missing_ok=True)

    def judged(self, images: Sequence[Image.Image], subject: str) -> Sequence[MatchPair | None]:
        """How each image fits the words; None for all where no encoder is to be had yet."""
        try:
            encoders = self.retrieval.collections.active().encoders
        except VectorStoreUnavailable as error:  # the images are made, whatever they are worth
            log.warning("generated pictures have no score: %s", error)
            return [None] * len(images)
        (said,) = encoders.image_text.encode_texts([plain(subject)])
        shown = list(encoders.image_text.encode_images(images))
        curve = self.retrieval.calibrations.of(encoders.fingerprint).pairs
        return [judge_pair(score, curve) for score in cosines(said, shown)]


class _Making:
    """One generation's way to its images."""

    def __init__(self, tools: Generating, context: RunContext) -> None:
        self._tools = tools
        self._context = context
        self._job = Job.model_validate(context.claim.options)
        self._progress = GenerationProgress(model="")
        self._next_preview = 0.0

    def make(self, generator: ImageGenerator) -> None:
        """All images, the best first in what is saved.

        Raises RunLost where it was cancelled, Stopping, GenerationFailed, GenerationModelMissing,
        StorageUnavailable.
        """
        self._progress = GenerationProgress(model=generator.name)
        self._save()  # from here on a death is known for what it was
        numbers = range(1, self._job.request.n + 1)
        images = [self._image(generator, number) for number in numbers]
        pairs = self._tools.judged(images, self._job.subject)
        made = [
            self._made(number, image, pair)
            for number, image, pair in zip(numbers, images, pairs, strict=True)
        ]
        made.sort(key=lambda one: -(one.score or 0.0))
        self._progress.pictures, self._progress.has_preview = made, False
        self._save()

    def undo(self) -> None:
        """As if it had not begun: a process that ends in good order was not killed by it."""
        claimed = self._context.claim
        self._context.database.write(queue.save, claimed, {}, LEASE)

    def _image(self, generator: ImageGenerator, number: int) -> Image.Image:
        job, request = self._job, self._job.request
        assert request.steps is not None
        assert request.guidance is not None, "both were settled when it was queued"
        before = self._progress.step

        def on_step(step: Step) -> None:
            self._context.check()
            self._progress.step = before + step.number
            self._progress.steps = request.n * step.of
            self._preview(step)
            self._save()

        return generator.generate(
            job.prompt,
            negative_prompt=job.negative_prompt,
            width=request.width,
            height=request.height,
            steps=request.steps,
            guidance=request.guidance,
            seed=job.seed(number),
            on_step=on_step,
        )

    def _save(self) -> None:
        """Raises RunLost where the generation was cancelled."""
        claimed, progress = self._context.claim, self._progress.model_dump()
        self._context.database.write(queue.save, claimed, progress, LEASE)

    def _preview(self, step: Step) -> None:
        if time.monotonic() < self._next_preview or step.number == step.of:
            return
        image = step.preview()
        if image is None:
            return
        small = image.convert("RGB")
        small.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=70)
        path = self._tools.generations.preview_path(self._context.claim.id)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            partial.write_bytes(buffer.getvalue())
            partial.replace(path)
        except OSError as error:  # no reason to give up the image itself
            log.warning("the preview of generation %d: %s", self._context.claim.id, error)
            return
        self._progress.has_preview = True
        self._next_preview = time.monotonic() + _PREVIEW_S

    def _made(self, number: int, image: Image.Image, pair: MatchPair | None) -> GenerationImage:
        """The image kept, with all that tells where it comes from."""
        job, request = self._job, self._job.request
        facts = {
            "Model": self._progress.model,
            "Prompt": job.prompt,
            "Negative prompt": job.negative_prompt or "",
            "Seed": str(job.seed(number)),
            "Steps": str(request.steps),
            "Guidance": str(request.guidance),
        }
        content = as_png(labelled(image) if self._tools.with_label else image, facts)
        return GenerationImage(
            number=number,
            image_hash=self._tools.generations.images.save(content),
            seed=job.seed(number),
            score=None if pair is None else pair.score,
            confidence=None if pair is None else pair.confidence,
            fits=None if pair is None or pair.verdict is None else pair.verdict is Verdict.match,
        )
