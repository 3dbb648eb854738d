"""A service that makes images with a tiny pipeline, whose steps a test can hold up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from main import create_app
from product_search.bootstrap import assemble
from product_search.generation.diffusers import open_generator
from product_search.generation.generator import ImageGenerator, Step
from product_search.settings import Settings
from tests.clock import until
from tests.generation import write_pipeline

HELD_S = 60.0


class Held(ImageGenerator):
    """A real generator that waits after each step while it is held."""

    def __init__(self, real: ImageGenerator) -> None:
        self._real = real
        self._go_on = threading.Event()
        self._go_on.set()
        self.steps: list[int] = []
        self.unloaded = 0

    @property
    def name(self) -> str:
        """See ImageGenerator."""
        return self._real.name

    @property
    def default_steps(self) -> int:
        """See ImageGenerator."""
        return self._real.default_steps

    @property
    def default_guidance(self) -> float:
        """See ImageGenerator."""
        return self._real.default_guidance

    def check(self) -> None:
        """See ImageGenerator."""
        self._real.check()

    def generate(
        self, prompt: str, *, on_step: Callable[[Step], None], **wanted: Any
    ) -> Image.Image:
        """See ImageGenerator."""

        def held(step: Step) -> None:
            self.steps.append(step.number)
            on_step(step)
            assert self._go_on.wait(HELD_S), "nobody let the generator go on"

        return self._real.generate(prompt, on_step=held, **wanted)

    def unload(self) -> None:
        """See ImageGenerator."""
        self._real.unload()
        self.unloaded += 1

    @contextmanager
    def held(self) -> Iterator[None]:
        """The generator stops after the step in hand, until this ends."""
        self._go_on.clear()
        try:
            yield
        finally:
            self._go_on.set()


class Images:
    """What is asked of a service that makes images."""

    def __init__(self, api: TestClient) -> None:
        self.api = api

    def ask(self, **fields: Any) -> int:
        """Queue a small image of one step; the generation's id."""
        wanted = {"prompt": "红色双肩包", "width": 256, "height": 256, "steps": 1} | fields
        answer = self.api.post("/generate", json=wanted)
        assert answer.status_code == 202, answer.text
        body = answer.json()
        assert body["status_url"] == f"/generate/{body['generation_id']}"
        return cast(int, body["generation_id"])

    def state(self, generation_id: int) -> dict[str, Any]:
        """The generation as it is now."""
        answer = self.api.get(f"/generate/{generation_id}")
        assert answer.status_code == 200, answer.text
        return cast(dict[str, Any], answer.json())

    def ended(self, generation_id: int) -> dict[str, Any]:
        """The generation once it has."""
        until(lambda: self.state(generation_id)["finished_at"] is not None, "its end")
        return self.state(generation_id)

    def made(self, **fields: Any) -> dict[str, Any]:
        """A generation that has come to its images."""
        found = self.ended(self.ask(**fields))
        assert (found["state"], found["error"]) == ("done", None)
        return found

    def picture(self, generation: dict[str, Any], place: int = 0) -> bytes:
        """The file of one of its images, the best unless told otherwise."""
        answer = self.api.get(generation["pictures"][place]["image_url"])
        assert answer.status_code == 200, answer.text
        return answer.content

    def reach(self, generation_id: int, step: int) -> dict[str, Any]:
        """The generation once it has done so many steps."""
        until(lambda: self.state(generation_id)["step"] >= step, f"step {step}")
        return self.state(generation_id)


class Studio(Images):
    """A service, and its generator."""

    def __init__(self, api: TestClient, generator: Held) -> None:
        super().__init__(api)
        self.generator = generator


@contextmanager
def studio(settings: Settings) -> Iterator[Studio]:
    """A service over the settings, whose generator can be held."""
    made: list[Held] = []

    def opened(*arguments: Any, **options: Any) -> ImageGenerator:
        made.append(Held(open_generator(*arguments, **options)))
        return made[0]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(assemble, "open_generator", opened)
        with TestClient(create_app(settings), raise_server_exceptions=False) as api:
            yield Studio(api, made[0])


Open = Callable[..., Settings]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pipeline(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="module")
def with_model(open_settings: Callable[[], Settings], pipeline: Path) -> Open:
    def make(**changes: Any) -> Settings:
        return open_settings().model_copy(update={"generation_dir": pipeline} | changes)

    return make


@pytest.fixture(scope="module")
def shop(with_model: Open) -> Iterator[Studio]:
    with studio(with_model(generation_max_queued=2)) as opened:
        yield opened


@pytest.fixture(scope="module")
def some(shop: Studio) -> dict[str, Any]:
    """A generation of one image that has come to its end."""
    return shop.made(seed=3)
