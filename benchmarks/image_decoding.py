"""What decoding costs: time beside Pillow's plain way, and memory of 40 images at once.

    python -m benchmarks.image_decoding

The plain way is what this project did before it looked at profiles, depth, grounds and ends: draft
mode, shrinking, turning upright, RGB. Times are medians, the two ways alternated in one process;
memory is the peak of a process of its own above its rest and that of the decoding processes that
it starts (60 MB each without an image), beside the bound of formats.MEMORY.
"""

from __future__ import annotations

import io
import statistics
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps

from product_search.images.decoding import MAX_DECODED_SIDE, decode
from product_search.images.formats import MEMORY

ROUNDS = 15
AT_ONCE = 40
SIDE = (MAX_DECODED_SIDE, MAX_DECODED_SIDE)
PEAK = """
import io, resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from benchmarks.image_decoding import FILES
from product_search.images.decoding import decode
content = FILES[sys.argv[1]]()
rest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with ThreadPoolExecutor(int(sys.argv[2])) as pool:
    list(pool.map(decode, [content] * int(sys.argv[2])))
own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - rest
tasks = Path("/proc/self/task").glob("*/children")
children = {one for task in tasks for one in task.read_text().split()}
status = [Path(f"/proc/{one}/status").read_text() for one in children]
apart = sum(int(one.partition("VmHWM:")[2].split()[0]) for one in status)
print((own + apart) // 1024)
"""


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the image as a file of this kind."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(width: int, height: int) -> Image.Image:
    """Return smooth and lively parts, as in a photo."""
    small = np.random.default_rng(0).integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def dark_png(side: int) -> bytes:
    """Return a PNG of three channels of 16 bits, of which only 10 are used."""
    row = b"\0" + (300).to_bytes(2, "big") * 3 * side
    pixels = zlib.compress(row * side)
    header = struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    )


def srgb_profile() -> bytes:
    """Return the profile that most cameras and programs write into their files."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


FILES: dict[str, Callable[[], bytes]] = {
    "JPEG, 800 × 800": lambda: encoded(photo(800, 800), "JPEG", quality=85),
    "JPEG, 800 × 800, sRGB profile": lambda: encoded(
        photo(800, 800), "JPEG", quality=85, icc_profile=srgb_profile()
    ),
    "JPEG, 4000 × 3000": lambda: encoded(photo(4000, 3000), "JPEG", quality=85),
    "PNG, 800 × 800": lambda: encoded(photo(800, 800), "PNG"),
    "WebP, 800 × 800": lambda: encoded(photo(800, 800), "WEBP"),
    "JPEG, 48 megapixels": lambda: encoded(Image.new("RGB", (8064, 6048), (9, 90, 9)), "JPEG"),
    "PNG, 40 megapixels": lambda: encoded(Image.new("RGB", (8000, 5000), (9, 90, 9)), "PNG"),
    "PNG, 16 bits, dark, 30 megapixels": lambda: dark_png(5500),
    "PNG, palette, transparent, 16 megapixels": lambda: encoded(
        Image.new("P", (3990, 3990)), "PNG", transparency=1
    ),
    "PNG, RGBA, 16 megapixels": lambda: encoded(
        Image.new("RGBA", (4000, 4000), (9, 90, 9, 90)), "PNG"
    ),
    "TIFF, floats, 30 megapixels": lambda: encoded(
        Image.new("F", (5500, 5500), 0.5), "TIFF", compression="tiff_deflate"
    ),
    "PNG, 200 megapixels": lambda: encoded(Image.new("L", (14_142, 14_142), 90), "PNG"),
}
TIMED = [name for name in FILES if "megapixels" not in name]
CROWDS = {
    "JPEG, 4000 × 3000": AT_ONCE,
    "JPEG, 48 megapixels": AT_ONCE,
    "PNG, 40 megapixels": AT_ONCE,
    "PNG, 16 bits, dark, 30 megapixels": AT_ONCE,
    "PNG, palette, transparent, 16 megapixels": AT_ONCE,
    "PNG, RGBA, 16 megapixels": AT_ONCE,
    "TIFF, floats, 30 megapixels": AT_ONCE,
    "PNG, 200 megapixels": 4,
}


def plain(content: bytes) -> Image.Image:
    """Decode in Pillow's plain way."""
    image: Image.Image = Image.open(io.BytesIO(content))
    image.draft(None, SIDE)
    image.thumbnail(SIDE, Image.Resampling.BICUBIC, reducing_gap=2.0)
    return ImageOps.exif_transpose(image).convert("RGB")


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Print a table of times, then one of memory."""
    say(f"{'file':32}{'plain ms':>10}{'ours ms':>10}{'ratio':>8}")
    for name in TIMED:
        content = FILES[name]()
        took: dict[Callable[[bytes], Image.Image], list[float]] = {plain: [], decode: []}
        for _ in range(ROUNDS):
            for way, times in took.items():
                start = time.perf_counter()
                way(content)
                times.append(1000 * (time.perf_counter() - start))
        before, after = (statistics.median(times) for times in took.values())
        say(f"{name:32}{before:10.1f}{after:10.1f}{after / before:8.2f}")
    say(f"\n{'at once':42}{'images':>8}{'peak MB':>10}   bound {MEMORY // 1_000_000} MB")
    for name, count in CROWDS.items():
        command = [sys.executable, "-c", PEAK, name, str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        say(f"{name:42}{count:8}{int(done.stdout):10}")


if __name__ == "__main__":
    main()
