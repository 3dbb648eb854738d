"""A generator's model goes out of memory once nobody has used it for a while."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from product_search.generation.diffusers import ImageGenerator


class Keeper:
    """The process's generator, for the one thread that carries out generations."""

    def __init__(self, generator: ImageGenerator, idle_s: float) -> None:
        self.generator = generator
        self._idle_s = idle_s
        self._timer: threading.Timer | None = None

    @contextmanager
    def in_use(self) -> Iterator[ImageGenerator]:
        """The generator, whose idle time begins anew afterwards."""
        self._stop_timer()
        try:
            yield self.generator
        finally:
            # Should it strike while the next generation runs, `unload` waits for its end.
            self._timer = threading.Timer(self._idle_s, self.generator.unload)
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        """Unload the model now."""
        self._stop_timer()
        self.generator.unload()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
