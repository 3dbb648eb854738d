"""EfficientNet-Lite0 in PyTorch as published, folded, channels-last, and in ONNX Runtime: ratios.

python -m benchmarks.starter_runtime WEIGHTS   (efficientnet-lite0-*.pth: see models/README.md)

The last lines are the networks that ship: the same with a second tail, and the heads, in float32
and in int8. Before all else: what these two take of a CPU, in one thread, taking turns.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from product_search.settings import Settings
from product_search.training.report.baseline import THREADS, Published, published_session
from product_search.training.starter.network import (
    PIXELS,
    channels_last,
    open_session,
    read_efficientnet,
)

ROUNDS = 15
SHIPPED = ("image.onnx", "image-int8.onnx")
Run = Callable[[], object]


def _milliseconds(run: Run) -> float:
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


def _in_torch(network: Callable[[torch.Tensor], object], pixels: torch.Tensor) -> Run:
    def run() -> object:
        with torch.inference_mode():
            return network(pixels)

    return run


def _in_onnx(session: onnxruntime.InferenceSession, pixels: torch.Tensor) -> Run:
    feed = {"pixels": pixels.numpy()}
    return lambda: session.run(None, feed)


def _ways(weights: Path, pixels: torch.Tensor) -> dict[str, Run]:
    """Return what is compared, the first being what the ratios are to."""
    last = pixels.contiguous(memory_format=torch.channels_last)
    shipped = Settings().shipped_starter
    return {
        "PyTorch, as published": _in_torch(read_efficientnet(weights).extract_features, pixels),
        "PyTorch, batch norms folded": _in_torch(Published(weights).eval(), pixels),
        "PyTorch, folded, channels last": _in_torch(channels_last(Published(weights).eval()), last),
        "ONNX Runtime": _in_onnx(published_session(weights), pixels),
        **{
            f"ONNX Runtime, {name}": _in_onnx(open_session(shipped / name, THREADS), pixels)
            for name in SHIPPED
        },
    }


def _compare_ways() -> None:
    """Run every network once in each round, so that a busy moment of the machine meets all."""
    warnings.simplefilter("ignore")  # the exporter's, of itself
    torch.set_num_threads(THREADS)
    for batch in (1, 16):
        ways = _ways(Path(sys.argv[1]), torch.rand(batch, *PIXELS) * 2 - 1)
        for run in ways.values():
            run()
        rounds = [[_milliseconds(run) for run in ways.values()] for _ in range(ROUNDS)]
        for name, times in zip(ways, np.array(rounds).T, strict=True):
            ratio = statistics.median(np.array(rounds)[:, 0] / times)
            each = statistics.median(times) / batch
            sys.stdout.write(f"batch {batch:2}: {name}: {each:.1f} ms a picture; x {ratio:.1f}\n")


def _compare_shipped() -> None:
    sessions = [open_session(Settings().shipped_starter / name, 1) for name in SHIPPED]
    for batch in (1, 8):
        pixels = torch.rand(batch, *PIXELS) * 2 - 1
        runs = [_in_onnx(session, pixels) for session in sessions]
        times = np.array([[_cpu_milliseconds(run) for run in runs] for _ in range(4 * ROUNDS)])
        for name, each in zip(SHIPPED, np.median(times, axis=0) / batch, strict=True):
            sys.stdout.write(f"batch {batch:2}: {name}: {each:.1f} ms of a CPU a picture\n")


def _cpu_milliseconds(run: Run) -> float:
    start = time.thread_time()
    run()
    return 1000 * (time.thread_time() - start)


def main() -> None:
    """Compare what is as published with what ships, and what ships in both precisions."""
    _compare_shipped()
    _compare_ways()


if __name__ == "__main__":
    main()
