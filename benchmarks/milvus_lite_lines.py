"""Two lines of Milvus Lite on the catalog's own access pattern, side by side, and their ratios.

python -m benchmarks.milvus_lite_lines PYTHON_A PYTHON_B [--sizes 1000 10000]

Each PYTHON is the interpreter of a virtual environment with one line of milvus-lite, pymilvus and
numpy. The two take turns, one step at a time, so that a busy moment of the machine meets both.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

Figures = dict[str, float]
WORKER = Path(__file__).with_name("milvus_lite_worker.py")


class Line:
    """One line of Milvus Lite with one index, in a process of its own."""

    def __init__(self, stack: ExitStack, python: str, index: str, size: int) -> None:
        """Start a worker of this Python over a new collection; the stack ends it."""
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        command = [python, str(WORKER), folder, index, str(size)]
        self._process = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        stack.callback(self._process.kill)
        self.name = f"{self._answer()} {index}"

    def _answer(self) -> str:
        stream: IO[str] | None = self._process.stdout
        assert stream is not None
        line = stream.readline()
        if not line:
            raise SystemExit("a worker ended: its reason is above")
        return line.strip()

    def step(self, name: str) -> Figures:
        """Run the step, and return what it measured."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        return dict(json.loads(self._answer()))


STEPS = ("fill", "batches", "singles", "searches", "count", "scan", "deletes", "reopen", "weight")


def compare(pythons: Sequence[str], indexes: Sequence[str], size: int) -> None:
    """Run every step on every line, and print a table; ratios are to the first line."""
    with ExitStack() as stack:
        lines = [
            Line(stack, python, index, size) for python, index in zip(pythons, indexes, strict=True)
        ]
        _say(f"\n| {size:,} entities", *(line.name for line in lines), "ratios to the first |")
        _say("|---" * (len(lines) + 2) + "|")
        for step in STEPS:
            found = [line.step(step) for line in lines]
            for what in found[0]:
                figures = [each[what] for each in found]
                ratios = ", ".join(f"{figure / figures[0]:.2f}" for figure in figures[1:])
                _say(f"| {what}", *(f"{figure:,.1f}" for figure in figures), f"{ratios} |")


def _say(*cells: str) -> None:
    sys.stdout.write(" | ".join(cells) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Compare the first line's FLAT with the second's FLAT and HNSW."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", help="python with the one line")
    parser.add_argument("second", help="python with the other")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000])
    options = parser.parse_args()
    for size in options.sizes:
        compare([options.first, options.second, options.second], ["FLAT", "FLAT", "HNSW"], size)


if __name__ == "__main__":
    main()
