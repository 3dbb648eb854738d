"""The images of finished generations: how others find them, and which files they still use."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from data_models import PictureOfGeneration
from orm_models import Database, Run
from product_search.errors import GenerationNotFound, ImageNotFound
from product_search.runs.queue import RunKind


class GenerationImage(BaseModel):
    """A generated image in the image store, and how well it fits its prompt."""

    number: int
    image_hash: str
    seed: int
    score: float | None = None
    confidence: float | None = None
    fits: bool | None = None


class GenerationProgress(BaseModel):
    """How far a generation is; its images come all at once, best first."""

    model: str
    step: int = 0
    steps: int | None = None
    has_preview: bool = False
    pictures: list[GenerationImage] = Field(default_factory=list)


def read_progress(run: Run) -> GenerationProgress | None:
    """Return the generation's progress; None where it has not begun."""
    return GenerationProgress.model_validate(run.progress) if run.progress else None


def fetch_generation(session: Session, generation_id: int) -> Run:
    """Return the run of the generation.

    Raises:
        GenerationNotFound: there is no such run, or it is of another kind.
    """
    run = session.get(Run, generation_id)
    if run is None or run.kind != RunKind.generate:
        raise GenerationNotFound(f"没有编号为 {generation_id} 的图片生成")
    return run


def find_image_hash(database: Database, wanted: PictureOfGeneration) -> str:
    """Return the image store's hash of a generated image.

    Raises:
        GenerationNotFound: there is no such generation.
        ImageNotFound: the generation has not made the image, or not yet.
    """
    run = database.read(fetch_generation, wanted.generation_id)
    progress = read_progress(run)
    for image in progress.pictures if progress else ():
        if image.number == wanted.number:
            return image.image_hash
    raise ImageNotFound(f"编号为 {run.id} 的图片生成没有第 {wanted.number} 张图片")


def find_used_hashes(session: Session, hashes: Collection[str]) -> set[str]:
    """Return those of the hashes that are images of generations."""
    used: set[str] = set()
    for progress in session.scalars(select(Run.progress).where(Run.kind == RunKind.generate)):
        generated = {image["image_hash"] for image in progress.get("pictures", ())}
        used |= generated.intersection(hashes)
    return used
