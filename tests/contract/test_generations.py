"""Generations on every database: bounded, cut off, given back, kept from the doctor, dropped."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from data_models import DriftKind, GenerationRequest, PictureOfGeneration
from orm_models import Database, Run
from product_search.errors import (
    GenerationFinished,
    GenerationNotFound,
    ImageNotFound,
    QueueFull,
)
from product_search.generation.diffusers import open_generator
from product_search.generation.generations import Generations
from product_search.images.provenance import as_png
from product_search.runs import generations as generated, queue
from product_search.runs.executor import LEASE
from product_search.runs.generations import GenerationImage, GenerationProgress
from product_search.runs.queue import RunClaim, RunKind, RunState
from tests.contract.doctor_shop import (
    Shop,
    database as database,
    found,
    milvus as milvus,
    shop as shop,
    stocked as stocked,
)
from tests.sessions import reading, writing
from tests.unit.pictures import age, file_of, noise

MAX_QUEUED = 3
BAG = GenerationRequest(prompt="红色双肩包")


@pytest.fixture
def generations(shop: Shop, tmp_path: Path) -> Generations:
    """Over the shop's stores; of the model there is only what it is asked for here."""
    (tmp_path / "model_index.json").write_text('{"_class_name": "ZImagePipeline"}')
    return Generations(
        database=shop.database,
        images=shop.images,
        generator=open_generator(tmp_path, "cpu"),
        previews=tmp_path / "previews",
        max_queued=MAX_QUEUED,
        keep=timedelta(days=1),
    )


def taken(database: Database) -> RunClaim:
    with writing(database) as session:
        claimed = queue.claim(session, [RunKind.generate], LEASE)
        assert claimed is not None
        return claimed


def made(generations: Generations) -> tuple[int, str]:
    """A generation that has ended with one image, and what that is kept as."""
    generation_id = generations.enqueue(BAG).generation_id
    claimed = taken(generations.database)
    name = generations.images.save(as_png(noise((8, 8), 9), {}))
    progress = GenerationProgress(
        model="m", step=8, steps=8, pictures=[GenerationImage(number=1, image_hash=name, seed=3)]
    )
    with writing(generations.database) as session:
        queue.save(session, claimed, progress.model_dump(), LEASE)
        queue.finish(session, claimed, RunState.done)
    return generation_id, name


def test_the_bound_holds_for_all_who_ask_at_the_same_time(generations: Generations) -> None:
    together = threading.Barrier(6)

    def ask(_: int) -> bool:
        together.wait()
        try:
            generations.enqueue(BAG)
        except QueueFull:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(ask, range(6))) == MAX_QUEUED
    taken(generations.database)  # what is under way waits no longer
    generations.enqueue(BAG)
    with pytest.raises(QueueFull):
        generations.enqueue(BAG)


def test_only_what_has_not_ended_can_be_cancelled(generations: Generations) -> None:
    first, second = (generations.enqueue(BAG).generation_id for _ in range(2))
    claimed = taken(generations.database)
    for one in (first, second):
        generations.cancel(one)
        assert generations.get(one).state == "cancelled"
        with pytest.raises(GenerationFinished, match="cancelled"):
            generations.cancel(one)
    with pytest.raises(queue.RunLost), writing(generations.database) as session:
        queue.save(session, claimed, {}, LEASE)
    with pytest.raises(GenerationNotFound):
        generations.cancel(second + 1)


def test_an_image_is_found_by_its_generation_and_number(generations: Generations) -> None:
    generation_id, name = made(generations)
    wanted = PictureOfGeneration(generation_id=generation_id, number=1)
    assert generated.find_image_hash(generations.database, wanted) == name
    assert generations.get_image(wanted, None).media_type == "image/png"
    with pytest.raises(ImageNotFound):
        generations.get_image(PictureOfGeneration(generation_id=generation_id, number=2), None)


def test_the_doctor_leaves_images_alone_until_their_generation_is_dropped(
    stocked: Shop, generations: Generations
) -> None:
    generation_id, name = made(generations)
    age(file_of(generations.images, name))
    assert found(stocked.walk(repair=True)) == {}
    generations.drop_old()
    assert generations.get(generation_id).pictures
    waits = generations.enqueue(BAG).generation_id
    replace(generations, keep=timedelta(0)).drop_old()
    with pytest.raises(GenerationNotFound):
        generations.get(generation_id)
    assert generations.get(waits).state == "queued"
    assert found(stocked.walk(repair=True)) == {DriftKind.orphaned_picture: 1}
    assert generations.images.find_missing([name]) == {name}


def test_previews_that_a_process_has_left_are_removed(generations: Generations) -> None:
    waits = generations.enqueue(BAG).generation_id
    generations.previews.mkdir()
    for name in (f"{waits}.webp", f"{waits + 1}.webp", f"{waits + 1}.partial"):
        (generations.previews / name).write_bytes(b"")
    generations.drop_old()
    assert [path.name for path in generations.previews.iterdir()] == [f"{waits}.webp"]


def test_what_was_asked_for_is_kept_as_it_was_settled(generations: Generations) -> None:
    asked = generations.enqueue(BAG.model_copy(update={"n": 2}))
    with reading(generations.database) as session:
        kept = session.get_one(Run, asked.generation_id).options["request"]
    assert (kept["steps"], kept["guidance"], kept["n"]) == (8, 0.0, 2)
    assert 0 <= kept["seed"] < 2**32
