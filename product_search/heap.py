"""The process's memory: what glibc keeps is given back, what stays is not searched for garbage."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_M_MMAP_THRESHOLD = -3  # glibc's malloc.h
_LARGE = 8 * 1024 * 1024  # bytes
_GARBAGE = 20_000  # objects from which Python looks for cycles; 700 are less than a search makes


def give_back_large_blocks() -> None:
    """Let glibc return large blocks to the system when they are freed, as those of images are.

    By itself it learns to keep blocks of up to 32 MB for reuse, in each thread's own arena: 40
    images at once then leave gigabytes behind.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)


def give_back_free_memory() -> None:
    """Let glibc return what is free now, such as the copies that loading a model leaves."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


@contextmanager
def rare_collections() -> Iterator[None]:
    """Let garbage be looked for more rarely, and not among what is in memory now.

    That is some 400,000 objects, most of them the modules', which a full collection would walk
    while everything else in the process waits.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
