"""What most layers of a network are computed in."""

from __future__ import annotations

from typing import Literal

# `float` is float32 on a CPU and float16 on a GPU.
Precision = Literal["float", "int8"]
PRECISIONS: tuple[Precision, ...] = ("int8", "float")  # in the order that a CPU prefers
