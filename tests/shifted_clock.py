"""A wall clock that a test sets back, for Milvus Lite and for this process."""

from __future__ import annotations

import mmap
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from product_search.milvus import wall_clock

# Preloaded into Milvus Lite: its wall clock is off by so many seconds as the file says.
_SHIM = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile const int *offset;

__attribute__((constructor)) static void open_offset(void) {
    const char *path = getenv("PRODUCT_SEARCH_TEST_CLOCK");
    int file = path ? open(path, O_RDONLY) : -1;
    void *page = file < 0 ? MAP_FAILED : mmap(0, sizeof(int), PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) offset = page;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && offset && clock == CLOCK_REALTIME) now->tv_sec += *offset;
    return failed;
}
"""


class ShiftedClock:
    """The wall clock of Milvus Lite and of what watches it, off by a number of seconds."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        """Begin with the right time. Milvus Lite must start later."""
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler")
        source, library, offset = folder / "clock.c", folder / "clock.so", folder / "offset"
        source.write_text(_SHIM)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
        offset.write_bytes(bytes(mmap.PAGESIZE))
        with offset.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self._offset_s = 0
        patch.setenv("LD_PRELOAD", str(library))
        patch.setenv("PRODUCT_SEARCH_TEST_CLOCK", str(offset))
        patch.setattr(wall_clock, "wall_time", self.now)

    def now(self) -> float:
        """The seconds since 1970, as this clock has them."""
        return time.time() + self._offset_s

    def set_off_by(self, seconds: int) -> None:
        """Set the clock to so much after the right time."""
        self._page[:4] = seconds.to_bytes(4, "little", signed=True)
        self._offset_s = seconds
