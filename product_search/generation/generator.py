"""What an image generator does, whatever model is behind it, and when it gives its memory back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from PIL import Image


@dataclass(frozen=True)
class Step:
    """The end of a denoising step; `preview` may be called until `on_step` returns."""

    number: int  # from 1, of those that were asked for
    of: int
    preview: Callable[[], Image.Image]  # returns a small image of what is there so far


class ImageGenerator(Protocol):
    """Words to an image; one at a time, in whichever thread asks."""

    @property
    def name(self) -> str:
        """The model's name."""
        ...

    @property
    def default_steps(self) -> int:
        """The steps that the publisher runs the model with. Raises GenerationModelMissing."""
        ...

    @property
    def default_guidance(self) -> float:
        """The guidance that the publisher runs the model with. Raises GenerationModelMissing."""
        ...

    def check(self) -> None:
        """Raise GenerationModelMissing where there is no model; load nothing."""
        ...

    def generate(
        self,
        prompt: str,
        *,
        negative_prompt: str | None,
        width: int,
        height: int,
        steps: int,
        guidance: float,
        seed: int,
        on_step: Callable[[Step], None],
    ) -> Image.Image:
        """Return an RGB image of this size, the same for the same arguments on the same device.

        The model is loaded where it is not yet. What `on_step` raises ends the generation before
        its next step and is raised on.

        Raises:
            GenerationModelMissing, GenerationFailed: there is no image.
        """
        ...

    def unload(self) -> None:
        """Free the memory once no generation runs; the next generation loads the model again."""
        ...


class IdleUnloader:
    """The process's generator, unloaded after `idle_s` seconds without a generation.

    For the one thread that carries out generations.
    """

    def __init__(self, generator: ImageGenerator, idle_s: float) -> None:
        """Lend this generator; unload it when it has been idle for so many seconds."""
        self.generator = generator
        self._idle_s = idle_s
        self._timer: threading.Timer | None = None

    @contextmanager
    def use(self) -> Iterator[ImageGenerator]:
        """Lend the generator; its idle time begins anew afterwards."""
        self._stop_timer()
        try:
            yield self.generator
        finally:
            # Should it strike while the next generation runs, `unload` waits for its end.
            self._timer = threading.Timer(self._idle_s, self.generator.unload)
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        """Unload the model at once."""
        self._stop_timer()
        self.generator.unload()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
