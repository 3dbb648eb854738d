"""Runs of generations carried out: images drawn step by step, then scored, marked and stored."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from data_models import MatchPair, Verdict
from product_search.batching import background
from product_search.errors import (
    AppError,
    DatabaseUnavailable,
    GenerationFailed,
    OutcomeUnknown,
    VectorStoreUnavailable,
)
from product_search.generation.generations import GenerationOptions, Generations
from product_search.generation.generator import IdleUnloader, ImageGenerator, Step
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
class GenerationHandler:
    """Handler of generations; when a generation has ended, old ones are dropped.

    Attributes:
        with_label: whether images bear a label in a corner.
    """

    generations: Generations
    unloader: IdleUnloader
    search: SearchService
    with_label: bool

    def handle(self, context: RunContext) -> None:
        """Carry out a generation; see Handler in runs.executor.

        Raises:
            RunFailed: the model is missing or fails; or a process has died over this generation,
                perhaps because of it, so that nobody begins it again.
        """
        context.on_finish(self.generations.drop_old)
        if context.claim.progress:
            raise RunFailed("生成中断了：服务在生成时意外停止。请重新生成")
        run = _GenerationRun(self, context)
        try:
            with self.unloader.use() as generator:
                run.generate(generator)
        except RunInterrupted:
            run.forget_progress()
            raise
        except (DatabaseUnavailable, OutcomeUnknown):
            raise
        except (AppError, GenerationFailed) as error:
            raise RunFailed(str(error)) from error
        finally:
            self.generations.preview_path(context.claim.id).unlink(missing_ok=True)

    def score(self, images: Sequence[Image.Image], subject: str) -> Sequence[MatchPair | None]:
        """Return how each image fits the words; None for all where there is no encoder yet."""
        try:
            encoders = self.search.collections.active().encoders
        except VectorStoreUnavailable as error:  # the images are made, whatever they are worth
            log.warning("generated pictures have no score: %s", error)
            return [None] * len(images)
        with background():
            (text,) = encoders.image_text.encode_texts([plain(subject)])
            vectors = list(encoders.image_text.encode_images(images))
        curve = self.search.calibrations.of(encoders.fingerprint).pairs
        return [judge_pair(score, curve) for score in cosines(text, vectors)]


class _GenerationRun:
    """One run of a generation, from its options to its stored images."""

    def __init__(self, handler: GenerationHandler, context: RunContext) -> None:
        self._handler = handler
        self._context = context
        self._options = GenerationOptions.model_validate(context.claim.options)
        self._progress = GenerationProgress(model="")
        self._next_preview = 0.0

    def generate(self, generator: ImageGenerator) -> None:
        """Generate, score and store all images; save them as progress, the best first.

        Raises:
            RunLost: the generation was cancelled.
            RunInterrupted: the process stops.
            GenerationFailed, GenerationModelMissing, StorageUnavailable: there are no images.
        """
        self._progress = GenerationProgress(model=generator.name)
        self._save()  # from here on a death is known for what it was
        numbers = range(1, self._options.request.n + 1)
        images = [self._draw(generator, number) for number in numbers]
        pairs = self._handler.score(images, self._options.subject)
        stored = [
            self._store(number, image, pair)
            for number, image, pair in zip(numbers, images, pairs, strict=True)
        ]
        stored.sort(key=lambda image: -(image.score or 0.0))
        self._progress.pictures, self._progress.has_preview = stored, False
        self._save()

    def forget_progress(self) -> None:
        """Save no progress, as before the start: a process that stops was not killed by the run."""
        self._context.database.write(queue.save, self._context.claim, {}, LEASE)

    def _draw(self, generator: ImageGenerator, number: int) -> Image.Image:
        options, request = self._options, self._options.request
        assert request.steps is not None
        assert request.guidance is not None, "both were settled when it was enqueued"
        before = self._progress.step

        def on_step(step: Step) -> None:
            self._context.check()
            self._progress.step = before + step.number
            self._progress.steps = request.n * step.of
            self._save_preview(step)
            self._save()

        return generator.generate(
            options.prompt,
            negative_prompt=options.negative_prompt,
            width=request.width,
            height=request.height,
            steps=request.steps,
            guidance=request.guidance,
            seed=options.image_seed(number),
            on_step=on_step,
        )

    def _save(self) -> None:
        """Save the progress. Raises RunLost where the generation was cancelled."""
        progress = self._progress.model_dump()
        self._context.database.write(queue.save, self._context.claim, progress, LEASE)

    def _save_preview(self, step: Step) -> None:
        if time.monotonic() < self._next_preview or step.number == step.of:
            return
        image = step.preview()
        if image is None:
            return
        small = image.convert("RGB")
        small.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=70)
        path = self._handler.generations.preview_path(self._context.claim.id)
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

    def _store(self, number: int, image: Image.Image, pair: MatchPair | None) -> GenerationImage:
        """Store the image, with all that tells where it comes from."""
        options, request = self._options, self._options.request
        facts = {
            "Model": self._progress.model,
            "Prompt": options.prompt,
            "Negative prompt": options.negative_prompt or "",
            "Seed": str(options.image_seed(number)),
            "Steps": str(request.steps),
            "Guidance": str(request.guidance),
        }
        content = as_png(labelled(image) if self._handler.with_label else image, facts)
        return GenerationImage(
            number=number,
            image_hash=self._handler.generations.images.save(content),
            seed=options.image_seed(number),
            score=None if pair is None else pair.score,
            confidence=None if pair is None else pair.confidence,
            fits=None if pair is None or pair.verdict is None else pair.verdict is Verdict.match,
        )
