"""The starter's image network in PyTorch and in ONNX Runtime, side by side: their ratio.

python -m benchmarks.starter_runtime WEIGHTS   (efficientnet-lite0-*.pth: see models/README.md)
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from product_search.settings import Settings
from product_search.training.starter import THREADS, FeatureNetwork, open_session

ROUNDS = 15


def _milliseconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    """Alternate between the two, so that a busy moment of the machine meets both."""
    torch.set_num_threads(THREADS)
    network = FeatureNetwork(Path(sys.argv[1])).eval()
    session = open_session(Settings().shipped_starter / "efficientnet_lite0.onnx")
    for batch in (1, 16):
        shape = (batch, 3, 224, 224)
        pixels = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        tensor = torch.from_numpy(pixels)

        def in_torch(tensor: torch.Tensor = tensor) -> object:
            with torch.inference_mode():
                return network(tensor)

        def in_onnx(pixels: object = pixels) -> object:
            return session.run(["features"], {"pixels": pixels})

        in_torch(), in_onnx()
        times = [(_milliseconds(in_torch), _milliseconds(in_onnx)) for _ in range(ROUNDS)]
        slow, fast = (statistics.median(column) / batch for column in zip(*times, strict=True))
        ratio = statistics.median(a / b for a, b in times)
        sys.stdout.write(
            f"batch {batch:2}: PyTorch {slow:.1f} ms, ONNX Runtime {fast:.1f} ms a picture; "
            f"ratio {ratio:.1f}\n"
        )


if __name__ == "__main__":
    main()
