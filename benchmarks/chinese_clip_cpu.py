"""Chinese-CLIP on a CPU by PyTorch and ONNX Runtime: texts and images a second, and agreement.

python -m benchmarks.chinese_clip_cpu [FOLDER]

FOLDER is a Chinese-CLIP checkpoint; without it, one of the published shapes (ViT-B/16 and BERT
base, 188 M parameters) is made with random weights, whose agreement says little of the real ones'.
Agreement is the cosine with PyTorch in float32. All runtimes take turns in each round.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from transformers import (
    ChineseCLIPConfig,
    ChineseCLIPImageProcessorPil,
    ChineseCLIPModel,
    set_seed,
)

from product_search.encoders.agreement import sample_images, sample_texts
from product_search.encoders.chinese_clip import ChineseClipEncoder
from product_search.encoders.embeddings import Matrix, normalised
from product_search.encoders.torch_clip import open_towers
from product_search.settings import ROOT, Settings

BATCHES = (1, 8)
ROUNDS = 3
SECONDS = 1.0  # of each runtime and batch in a round, at least one batch
Embed = Callable[[Sequence[Matrix]], Matrix]


def write_checkpoint(folder: Path) -> Path:
    """Write a checkpoint of the published shapes, its weights random, with BGE's vocabulary."""
    set_seed(0)
    config = ChineseCLIPConfig(
        text_config={"vocab_size": 21128}, vision_config={"patch_size": 16}, projection_dim=512
    )
    ChineseCLIPModel(config).save_pretrained(folder)
    size = {"height": 224, "width": 224}
    processor = ChineseCLIPImageProcessorPil(size=size, do_center_crop=False)
    processor.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((Settings().shipped_bge / name).read_bytes())
    return folder


def ways(folder: Path) -> tuple[dict[str, Embed], dict[str, Embed], ChineseClipEncoder]:
    """Return what embeds texts, what embeds images (the first PyTorch's), and an encoder."""
    texts, images = open_towers(folder, "cpu")
    exact, int8 = ChineseClipEncoder(folder), ChineseClipEncoder(folder, precision="int8")
    of_texts: dict[str, Embed] = {
        "PyTorch float32": lambda batch: normalised(texts.embed(batch)),  # type: ignore[arg-type]
        "ONNX Runtime float32": exact.embed,  # type: ignore[dict-item]
        "ONNX Runtime int8": int8.embed,  # type: ignore[dict-item]
    }
    of_images: dict[str, Embed] = {
        "PyTorch float32": lambda batch: normalised(images.embed(batch)),
        "ONNX Runtime float32": exact.embed_pixels,
        "ONNX Runtime int8": int8.embed_pixels,
    }
    return of_texts, of_images, exact


def rate(embed: Embed, items: Sequence[Matrix], batch: int) -> float:
    """Return items a second in batches of this size."""
    start, done = time.perf_counter(), 0
    while not done or time.perf_counter() - start < SECONDS:
        place = done % (len(items) - batch)
        embed(items[place : place + batch])
        done += batch
    return done / (time.perf_counter() - start)


def table(name: str, embeds: dict[str, Embed], items: Sequence[Matrix]) -> Iterator[str]:
    """Measure; yield lines of Markdown, rates as medians of rounds, ratios of the same round."""
    vectors = {
        way: np.concatenate([embed(items[i : i + 8]) for i in range(0, len(items), 8)])
        for way, embed in embeds.items()
    }
    rates: dict[str, list[list[float]]] = {way: [] for way in embeds}
    for _ in range(ROUNDS):
        for way, embed in embeds.items():
            rates[way].append([rate(embed, items, batch) for batch in BATCHES])
    base = next(iter(embeds))
    yield f"| {name} | {' | '.join(f'batch {b}' for b in BATCHES)} | mean | least |"
    yield "|---" * (len(BATCHES) + 3) + "|"
    for way, rows in rates.items():
        ratios = np.median(np.array(rows) / np.array(rates[base]), axis=0)
        cells = [
            f"{each:.1f}/s (x {ratio:.2f})"
            for each, ratio in zip(np.median(rows, axis=0), ratios, strict=True)
        ]
        cosines = (vectors[way] * vectors[base]).sum(axis=1)
        yield f"| {way} | {' | '.join(cells)} | {cosines.mean():.4f} | {cosines.min():.4f} |"


def main() -> None:
    """Print a table for texts and one for images."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else write_checkpoint(Path(work))
        of_texts, of_images, encoder = ways(folder)
        tokens = encoder.tokenise(sample_texts(ROOT))[:32]
        pixels = encoder.pixels(sample_images(ROOT)[:16])
        for lines in (table("texts", of_texts, tokens), table("images", of_images, pixels)):  # type: ignore[arg-type]
            sys.stdout.writelines(f"{line}\n" for line in lines)
            sys.stdout.write("\n")


if __name__ == "__main__":
    main()
