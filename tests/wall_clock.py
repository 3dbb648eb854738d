"""A wall clock for processes that tests and benchmarks start, which can be set back under them."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")


class WallClock:
    """The machine's clock until it is set back; for processes started with `environment`.

    What they start has it too. Clocks that only go forward, by which timeouts are counted, are as
    they were.
    """

    def __init__(self, folder: Path) -> None:
        """Prepare it, in files in this folder; raise RuntimeError where there is no C compiler."""
        compiler = shutil.which("cc")
        if compiler is None:
            raise RuntimeError("cc is not installed: no clock can be set back")
        self._library, self._moved = folder / "wall_clock.so", folder / "moved"
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(self._library), str(_SOURCE)]
        subprocess.run([*command, "-ldl"], check=True, capture_output=True)
        self._moved.write_bytes(struct.pack("q", 0))

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a process that is to go by this clock."""
        return {"LD_PRELOAD": str(self._library), "WALL_CLOCK": str(self._moved)}

    def set_back(self, seconds: int) -> None:
        """Set it back, from the machine's time, in every process at once."""
        with self._moved.open("r+b") as stream:
            stream.write(struct.pack("q", -seconds))
