"""Files and texts that are small to send and cost much: pictures, ZIPs, queries."""

from __future__ import annotations

import csv
import io
import itertools
import math
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.rig import words

SIDE = 6320  # of 40 megapixels, about as many as are taken
SCANS = 4000
_RUN = 32_767  # blocks, the most that one code of a JPEG passes over
_AT_ONCE = 1 << 20
_HEADER = b"sku,title\n"
_BATCH_TEXT = 128  # characters of each of a batch's 64 texts, as many as it takes


def slow_jpeg(side: int = SIDE, scans: int = SCANS) -> bytes:
    """Return a grey progressive JPEG of some 340 KB whose many scans say nothing of any block."""
    blocks = math.ceil(side / 8) ** 2
    frame = struct.pack(">BHHB3B", 8, side, side, 1, 1, 0x11, 0)
    one_code = bytes([1, *[0] * 15])  # a table of one code, which is the bit 0
    start = [
        b"\xff\xd8",
        _segment(0xDB, bytes([0, *[1] * 64])),
        _segment(0xC2, frame),
        _segment(0xC4, b"\x00" + one_code + b"\x00"),  # DC: no difference
        _segment(0xC4, b"\x10" + one_code + b"\xe0"),  # AC: so many blocks have no more
        _scan(0, 0, bytes(math.ceil(blocks / 8))),
    ]
    bits = "".join(["0", "1" * 14]) * math.ceil(blocks / _RUN)
    runs = int(bits.ljust(-len(bits) % 8 + len(bits), "1"), 2).to_bytes(math.ceil(len(bits) / 8))
    empty = _scan(1, 63, runs.replace(b"\xff", b"\xff\x00"))
    return b"".join([*start, empty * scans, b"\xff\xd9"])


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _scan(first: int, last: int, coded: bytes) -> bytes:
    return _segment(0xDA, bytes([1, 1, 0, first, last, 0])) + coded


def flat_tiff(side: int = SIDE) -> bytes:
    """Return a TIFF of 40 megapixels in some 220 KB."""
    written = io.BytesIO()
    image = Image.new("RGB", (side, side), (200, 60, 40))
    image.save(written, "TIFF", compression="tiff_adobe_deflate")
    return written.getvalue()


def smooth_pictures(count: int, side: int = 1024) -> Iterator[bytes]:
    """Yield so many JPEGs of some 12 KB that take 3 MB each once decoded, no two alike."""
    ramp = np.linspace(0, 255, side, dtype=np.float32)
    for number in range(count):
        shades = [ramp[:, None] * weight + ramp[None] * (1 - weight) for weight in (0.2, 0.5, 0.9)]
        pixels = np.stack(shades, axis=-1).astype(np.uint8)
        pixels[:8, :8] = (number % 256, number // 256, 0)
        written = io.BytesIO()
        Image.fromarray(pixels).save(written, "JPEG", quality=40)
        yield written.getvalue()


def write_empty_lines(path: Path, megabytes: int) -> None:
    """Write a ZIP whose table is a header and so many MB of line breaks."""
    lines = b"\n" * _AT_ONCE
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open("products.csv", "w", force_zip64=True) as table,
    ):
        table.write(_HEADER)
        for _ in range(megabytes):
            table.write(lines)


def write_rows(path: Path, seed: int, count: int) -> None:
    """Write an import file of so many products without pictures."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ("sku", "title", "description", "category", "price"))
        writer.writeheader()
        for number, product in enumerate(words.products(seed, count)):
            chosen = {name: product[name] for name in ("title", "description", "category", "price")}
            writer.writerow(chosen | {"sku": f"H-{seed}-{number:06}"})


def rich_texts(seed: int, count: int) -> Iterator[str]:
    """Yield texts as long as a batch takes, with prices, wrong letters and what is not wanted."""
    queries = itertools.cycle(words.queries(seed, 8 * count))
    for number in range(count):
        said = [f"不要{next(queries)}", f"{20 + number}到{90 + number}元", "shuangjianbao"]
        text = " ".join([next(queries), *said, *itertools.islice(queries, 12)])
        yield text[:_BATCH_TEXT].strip()
