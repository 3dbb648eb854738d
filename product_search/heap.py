"""Memory that glibc keeps for itself, given back to the system; elsewhere nothing is done."""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD = -3  # glibc's malloc.h
_LARGE = 8 * 1024 * 1024  # bytes


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
