"""The images that generations have made: found by who uses them, kept from who tidies up."""

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
    """An image that was made, in the image store, and how it fits."""

    number: int
    image_hash: str
    seed: int
    score: float | None = None
    confidence: float | None = None
    fits: bool | None = None


class GenerationProgress(BaseModel):
    """How far a generation is; its images come all at once, the best first."""

    model: str
    step: int = 0
    steps: int | None = None
    has_preview: bool = False
    pictures: list[GenerationImage] = Field(default_factory=list)


def read_progress(run: Run) -> GenerationProgress | None:
    """None where it has not begun."""
    return GenerationProgress.model_validate(run.progress) if run.progress else None


def require_generation(run: Run | None, generation_id: int) -> Run:
    """The generation. Raises GenerationNotFound."""
    if run is None or run.kind != RunKind.generate:
        raise GenerationNotFound(f"没有编号为 {generation_id} 的图片生成")
    return run


def find_image_hash(database: Database, wanted: PictureOfGeneration) -> str:
    """By what the image store knows it.

    Raises GenerationNotFound; ImageNotFound where the generation has not made it, or not yet.
    """
    number = wanted.generation_id
    run = require_generation(database.read(lambda session: session.get(Run, number)), number)
    progress = read_progress(run)
    for made in progress.pictures if progress else ():
        if made.number == wanted.number:
            return made.image_hash
    raise ImageNotFound(f"编号为 {number} 的图片生成没有第 {wanted.number} 张图片")


def find_used_hashes(session: Session, hashes: Collection[str]) -> set[str]:
    """Those of these images that generations have made."""
    named: set[str] = set()
    for progress in session.scalars(select(Run.progress).where(Run.kind == RunKind.generate)):
        made = (one["image_hash"] for one in progress.get("pictures", ()))
        named |= {one for one in made if one in hashes}
    return named
