"""Inputs to start from, and damage to them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hypothesis import HealthCheck, settings, strategies as st

FEW = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
# What a reader may take for a size, a count or an offset.
_EDGES = [
    number.to_bytes(size, order, signed=number < 0)
    for size in (1, 2, 4, 8)
    for number in (0, 1, -1, 2 ** (8 * size - 1) - 1, -(2 ** (8 * size - 1)))
    for order in ("little", "big")
]


@st.composite
def damaged(draw: st.DrawFn, wholes: Sequence[bytes]) -> bytes:
    """One of these, with bytes changed, lost, doubled, or taken from another."""
    content = draw(st.sampled_from(wholes))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 64)))
        how = draw(st.sampled_from(["edge", "bytes", "cut", "end", "double", "splice"]))
        if how == "edge":
            edge = draw(st.sampled_from(_EDGES))
            content = content[:start] + edge + content[start + len(edge) :]
        elif how == "bytes":
            content = content[:start] + draw(st.binary(max_size=8)) + content[end:]
        elif how == "cut":
            content = content[:start] + content[end:]
        elif how == "end":
            content = content[:start]
        elif how == "double":
            content = content[:end] + content[start:]
        else:
            other = draw(st.sampled_from(wholes))
            content = content[:start] + other[draw(st.integers(0, len(other))) :]
    return content


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """The block takes this thread no more time of the processor: other work does not count."""
    begun = time.thread_time()
    yield
    assert time.thread_time() - begun <= seconds
