"""Pipelines of diffusers as generators, on tiny pipelines of the real classes."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from diffusers import ZImageTransformer2DModel
from PIL import Image

from product_search.errors import GenerationFailed, GenerationModelMissing, StorageUnavailable
from product_search.generation import pipeline
from product_search.generation.diffusers import has_pipeline, open_generator
from product_search.generation.generator import ImageGenerator, Step
from product_search.runs.queue import RunLost
from tests.generation import (
    write_checked_pipeline,
    write_klein_pipeline,
    write_pipeline,
    write_qwen_pipeline,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small wait for threads longer than they are computed, on a busy machine most."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pipeline(tmp_path_factory.mktemp("models") / "tiny--z-image")


@pytest.fixture(scope="module")
def generator(folder: Path) -> ImageGenerator:
    return open_generator(folder, "cpu")


def ignore(_step: Step) -> None:
    """An on_step that lets it go on."""


def picture(
    generator: ImageGenerator,
    *,
    prompt: str = "红色双肩包",
    negative_prompt: str | None = None,
    size: tuple[int, int] = (256, 256),
    steps: int = 2,
    guidance: float = 0.0,
    seed: int = 1,
    on_step: Callable[[Step], None] = ignore,
) -> Image.Image:
    return generator.generate(
        prompt,
        negative_prompt=negative_prompt,
        width=size[0],
        height=size[1],
        steps=steps,
        guidance=guidance,
        seed=seed,
        on_step=on_step,
    )


def test_the_same_seed_and_settings_give_the_same_image(
    folder: Path, generator: ImageGenerator
) -> None:
    first = picture(generator)
    assert picture(generator).tobytes() == first.tobytes()
    assert picture(open_generator(folder, "cpu")).tobytes() == first.tobytes()


def test_another_seed_prompt_or_number_of_steps_gives_another_image(
    generator: ImageGenerator,
) -> None:
    pictures = [
        picture(generator),
        picture(generator, seed=2**32 - 1),
        picture(generator, prompt="蓝色雨伞"),
        picture(generator, steps=3),
        picture(generator, guidance=5.0),
        picture(generator, guidance=5.0, negative_prompt="苹果"),
    ]
    assert len({one.tobytes() for one in pictures}) == len(pictures)


@pytest.mark.parametrize("size", [(256, 256), (264, 1024), (1016, 256)])
def test_an_image_has_the_size_that_was_asked_for(
    generator: ImageGenerator, size: tuple[int, int]
) -> None:
    made = picture(generator, size=size, steps=1)
    assert (made.size, made.mode) == (size, "RGB")


def test_progress_moves_step_by_step_and_shows_what_is_there(generator: ImageGenerator) -> None:
    seen: list[tuple[int, int]] = []
    previews: list[Image.Image] = []

    def on_step(step: Step) -> None:
        seen.append((step.number, step.of))
        previews.append(step.preview())

    picture(generator, size=(512, 256), steps=4, on_step=on_step)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert {one.size for one in previews} == {(256, 128)}
    assert len({one.tobytes() for one in previews}) == 4


def test_asking_for_previews_changes_no_image(generator: ImageGenerator) -> None:
    def look(step: Step) -> None:
        step.preview()

    assert picture(generator, on_step=look).tobytes() == picture(generator).tobytes()


@pytest.mark.parametrize("error", [RunLost(), StorageUnavailable("full")])
def test_what_on_step_raises_ends_the_generation_within_that_step(
    generator: ImageGenerator, error: Exception
) -> None:
    seen: list[int] = []

    def stop(step: Step) -> None:
        seen.append(step.number)
        if step.number == 2:
            raise error

    with pytest.raises(type(error)) as caught:
        picture(generator, steps=50, on_step=stop)
    assert caught.value is error
    assert seen == [1, 2]
    assert picture(generator).size == (256, 256)


def test_a_generation_that_fails_says_no_internals_and_the_next_one_goes_on(
    generator: ImageGenerator, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(GenerationFailed) as caught:
        picture(generator, steps=0)
    assert "日志" in str(caught.value)
    assert "Traceback" in caplog.text
    assert picture(generator).size == (256, 256)


def test_nothing_is_loaded_until_the_first_generation_and_nothing_is_kept_after_unload(
    folder: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(folder, tmp_path / "moved")
    generator = open_generator(moved, "cpu")
    generator.unload()
    first = picture(generator)
    shutil.move(moved, tmp_path / "away")
    (moved).mkdir()
    shutil.copy(tmp_path / "away" / "model_index.json", moved)
    assert picture(generator).tobytes() == first.tobytes()
    generator.unload()
    with pytest.raises(GenerationFailed):
        picture(generator)


def test_unload_gives_the_memory_back(folder: Path) -> None:
    def loaded() -> int:
        gc.collect()
        return sum(type(one) is ZImageTransformer2DModel for one in gc.get_objects())

    before = loaded()
    generator = open_generator(folder, "cpu")
    picture(generator)
    assert loaded() == before + 1
    generator.unload()
    assert loaded() == before


def test_a_model_that_is_not_there_is_named_with_the_command_that_fetches_it(
    folder: Path, tmp_path: Path
) -> None:
    generator = open_generator(tmp_path / "Tongyi-MAI--Z-Image-Turbo", "cpu")
    for ask in (
        generator.check,
        lambda: generator.default_steps,
        lambda: generator.default_guidance,
        lambda: picture(generator),
    ):
        with pytest.raises(GenerationModelMissing) as caught:
            ask()
        assert "Tongyi-MAI/Z-Image-Turbo" in caught.value.message
        assert "download-models --generation" in caught.value.message
    shutil.copytree(folder, tmp_path / "Tongyi-MAI--Z-Image-Turbo")
    generator.check()
    assert picture(generator).size == (256, 256)


def test_a_damaged_model_fails_and_is_used_once_it_is_whole(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    generator = open_generator(copy, "cpu")
    for damaged in (whole[: len(whole) // 2], b"", b"no tensors"):
        weights.write_bytes(damaged)
        with pytest.raises(GenerationFailed) as caught:
            picture(generator)
        assert generator.name in str(caught.value)
        assert str(tmp_path) not in str(caught.value)
    weights.write_bytes(whole)
    assert picture(generator).size == (256, 256)


@pytest.mark.parametrize(
    ("lost", "is_there"),
    [
        ("model_index.json", False),
        ("vae", False),
        ("text_encoder/model.safetensors", False),
        ("transformer/diffusion_pytorch_model.safetensors", False),
        ("tokenizer/tokenizer_config.json", True),
    ],
)
def test_a_folder_is_a_pipeline_where_its_parts_and_their_weights_are_there(
    folder: Path, tmp_path: Path, lost: str, is_there: bool
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert has_pipeline(copy)
    path = copy / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert has_pipeline(copy) is is_there


def test_a_shard_that_is_missing_is_seen(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    part = copy / "text_encoder"
    (part / "model.safetensors").rename(part / "model-1.safetensors")
    (part / "model.safetensors.index.json").write_text(json.dumps(index))
    assert not has_pipeline(copy)
    (part / "model-2.safetensors").write_bytes(b"")
    assert has_pipeline(copy)


@pytest.mark.parametrize(
    ("write", "steps", "guidance"),
    [(write_pipeline, 8, 0.0), (write_klein_pipeline, 4, 1.0), (write_qwen_pipeline, 50, 4.0)],
)
def test_each_kind_of_the_three_models_runs_as_its_publisher_runs_it(
    tmp_path: Path, write: Callable[[Path], Path], steps: int, guidance: float
) -> None:
    generator = open_generator(write(tmp_path / "model"), "cpu", vae_tiling=True)
    assert (generator.default_steps, generator.default_guidance) == (steps, guidance)
    seen: list[tuple[int, int]] = []
    previews: list[tuple[int, int]] = []

    def on_step(step: Step) -> None:
        seen.append((step.number, step.of))
        previews.append(step.preview().size)

    made = picture(generator, size=(264, 256), steps=4, guidance=guidance, on_step=on_step)
    assert made.size == (264, 256)
    assert seen[-1] == (4, 4)
    assert seen == sorted(seen)
    assert set(previews) == {(256, 248)}


def test_guidance_is_the_one_that_qwen_image_has(tmp_path: Path) -> None:
    generator = open_generator(write_qwen_pipeline(tmp_path), "cpu")
    assert picture(generator).tobytes() != picture(generator, guidance=4.0).tobytes()


def test_a_pipeline_of_ones_own_counts_the_steps_that_were_asked_for(tmp_path: Path) -> None:
    generator = open_generator(write_checked_pipeline(tmp_path, finds=False), "cpu")
    seen: list[tuple[int, int]] = []
    picture(generator, steps=4, on_step=lambda step: seen.append((step.number, step.of)))
    assert seen == sorted(seen)
    assert seen[-1] == (4, 4)


def test_latents_are_looked_up_only_for_a_preview() -> None:
    steps: list[Step] = []
    reporter = pipeline._StepReporter(steps.append, 2, Mock(side_effect=AssertionError))
    assert reporter(Mock(num_timesteps=2), 0, 0, {}) == {}
    assert [(step.number, step.of) for step in steps] == [(1, 2)]
    with pytest.raises(KeyError):
        steps[0].preview()


def test_what_the_models_own_safety_check_finds_is_no_image(tmp_path: Path) -> None:
    generator = open_generator(write_checked_pipeline(tmp_path, finds=True), "cpu")
    with pytest.raises(GenerationFailed) as caught:
        picture(generator)
    assert "安全检查" in str(caught.value)
