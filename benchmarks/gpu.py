"""Encoders on a GPU: items a second by batch and precision, eager and as CUDA graphs, agreement.

python -m benchmarks.gpu [DEVICE]     (cuda; cpu only shows that the script works, in few batches)

BGE is the one that ships; Chinese-CLIP has the published shapes and random weights, which are as
fast as the real ones. Rates include the copy to the GPU from pinned memory and back. Agreement is
the least cosine with float32 of the same inputs. A line of JSON comes last. About three minutes.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import BertModel, ChineseCLIPModel

from benchmarks.chinese_clip_cpu import write_checkpoint
from product_search.encoders.embeddings import Matrix, normalised
from product_search.encoders.pretrained import to_device, to_matrix
from product_search.settings import Settings

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
BATCHES = {"cuda": (1, 8, 32, 64, 128, 256), "cpu": (1, 2)}
SECONDS = {"cuda": 0.5, "cpu": 0.1}
TOKENS = 32  # of each text: a query with its instruction, or a title
SIDE = 224
Inputs = Mapping[str, torch.Tensor]
Network = Callable[[Inputs], torch.Tensor]


@dataclass(frozen=True)
class Task:
    """A network, what it is given, and how its output is taken."""

    name: str
    model: Any
    takes: Callable[[int], dict[str, torch.Tensor]]  # so many items, on the CPU
    run: Network

    def cast(self, dtype: torch.dtype) -> None:
        """Hold the weights in this precision."""
        self.model.to(dtype)


def _tokens(count: int) -> dict[str, torch.Tensor]:
    ids = torch.randint(200, 20_000, (count, TOKENS), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _pixels(count: int) -> dict[str, torch.Tensor]:
    shape = (count, 3, SIDE, SIDE)
    return {"pixel_values": torch.randn(shape, generator=torch.Generator().manual_seed(0))}


def tasks(device: str, work: Path) -> Iterator[Task]:
    """Yield BGE, and both towers of Chinese-CLIP, in float32."""
    bge: Any = BertModel.from_pretrained(
        Settings().shipped_bge, add_pooling_layer=False, dtype=torch.float32
    )
    bge = bge.to(device).eval()
    yield Task("BGE texts", bge, _tokens, lambda x: bge(**x).last_hidden_state[:, 0])
    clip: Any = ChineseCLIPModel.from_pretrained(write_checkpoint(work), dtype=torch.float32)
    clip = clip.to(device).eval()
    yield Task("CLIP texts", clip, _tokens, lambda x: clip.get_text_features(**x).pooler_output)
    clip.to(torch.float32)
    yield Task("CLIP images", clip, _pixels, lambda x: clip.get_image_features(**x).pooler_output)


def moved(inputs: Inputs, dtype: torch.dtype, device: str) -> dict[str, torch.Tensor]:
    """Return the inputs on the device, pixels in the network's precision."""
    return {
        name: to_device(one.to(dtype) if one.is_floating_point() else one, device)
        for name, one in inputs.items()
    }


def captured(run: Network, example: Inputs) -> Network:
    """Return the network as a CUDA graph for inputs of the example's shapes."""
    fixed = {name: one.clone() for name, one in example.items()}
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run(fixed)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = run(fixed)

    def replay(inputs: Inputs) -> torch.Tensor:
        for name, one in inputs.items():
            fixed[name].copy_(one)
        graph.replay()
        return output

    return replay


def rate(run: Network, task: Task, batch: int, dtype: torch.dtype, device: str) -> float:
    """Return items a second, from arrays in memory to arrays in memory."""
    inputs = task.takes(batch)
    for _ in range(3):
        to_matrix(run(moved(inputs, dtype, device)))
    start, done = time.perf_counter(), 0
    while (taken := time.perf_counter() - start) < SECONDS[device]:
        to_matrix(run(moved(inputs, dtype, device)))
        done += batch
    return done / taken


def measure(task: Task, device: str) -> Iterator[dict[str, object]]:
    """Yield a row for each precision, way and batch."""
    exact: Matrix | None = None
    for name, dtype in DTYPES.items():
        task.cast(dtype)
        vectors = normalised(to_matrix(task.run(moved(task.takes(8), dtype, device))))
        exact = vectors if exact is None else exact
        least = float((vectors * exact).sum(axis=1).min())
        for batch in BATCHES[device]:
            ways = {"eager": task.run}
            if device == "cuda":
                ways["graph"] = captured(task.run, moved(task.takes(batch), dtype, device))
            for way, run in ways.items():
                per_second = rate(run, task, batch, dtype, device)
                yield {
                    "task": task.name, "precision": name, "way": way, "batch": batch,
                    "per_second": round(per_second, 1), "least_cosine": round(least, 5),
                }  # fmt: skip


@torch.inference_mode()
def main() -> None:
    """Measure on the device; print rows as a table, then as JSON."""
    device = sys.argv[1] if len(sys.argv) > 1 else "cuda"
    rows: list[dict[str, object]] = []
    sys.stdout.write("| task | precision | way | batch | a second | least cosine |\n")
    sys.stdout.write("|---|---|---|---|---|---|\n")
    with tempfile.TemporaryDirectory() as work:
        for task in tasks(device, Path(work)):
            for row in measure(task, device):
                rows.append(row)
                sys.stdout.write(f"| {' | '.join(map(str, row.values()))} |\n")
                sys.stdout.flush()
    what = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    sys.stdout.write(json.dumps({"device": what, "torch": torch.__version__, "rows": rows}) + "\n")


if __name__ == "__main__":
    main()
