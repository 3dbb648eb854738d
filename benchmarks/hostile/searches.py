"""Attacks by what is searched for: pictures that cost much to decode, many at once, rich texts."""

from __future__ import annotations

import base64
import time
from itertools import islice

from benchmarks.hostile import files
from benchmarks.hostile.stand import SEED, Stand
from benchmarks.rig import pictures
from benchmarks.rig.contenders import search_request
from benchmarks.rig.processes import Request

_QUERIES = 64  # of a batch, as many as it takes
_LONGEST_S = 60.0


def slow_jpegs(stand: Stand) -> list[str]:
    """Search by two slow progressive JPEGs, and by 45 usual pictures behind them."""
    usual = [search_request("image_to_image", one) for one in pictures.pictures(SEED, 45)]
    slow = search_request("image_to_image", files.slow_jpeg())
    stand.waves([slow, slow, *usual])
    return []


def slow_product(stand: Stand) -> list[str]:
    """Create a product with a slow JPEG, and another one without a picture right after it."""
    picture = base64.b64encode(files.slow_jpeg()).decode()
    stand.attack(("POST", "/product", {"title": "慢图片", "image_base64": picture}))
    time.sleep(0.5)  # it is being indexed
    title = "急着上架的双肩包"
    stand.create(title)
    found = stand.seconds_until_found(title, _LONGEST_S)
    stand.wait_out()
    return [found_after("another product", found, _LONGEST_S)]


def large_tiffs(stand: Stand) -> list[str]:
    """Search by 40 TIFFs of 40 megapixels at once."""
    request = search_request("image_to_image", files.flat_tiff())
    stand.waves([request] * 40)
    return []


def batches_of_pictures(stand: Stand) -> list[str]:
    """Ask for 20 batches of 64 pictures at once."""
    made = [
        {"image_base64": base64.b64encode(one).decode()} for one in files.smooth_pictures(_QUERIES)
    ]
    stand.waves([_batch(made)] * 20)
    return []


def batches_of_texts(stand: Stand) -> list[str]:
    """Ask for 8 batches of 64 long texts at once, each with prices and what is not wanted."""
    texts = files.rich_texts(SEED, 8 * _QUERIES)
    stand.waves([_batch([{"text": text} for text in islice(texts, _QUERIES)]) for _ in range(8)])
    return []


def _batch(queries: list[dict[str, str]]) -> Request:
    return "POST", "/search/batch", {"queries": queries}


def found_after(what: str, seconds: float | None, patience_s: float) -> str:
    """Say after how long a search found something."""
    if seconds is None:
        return f"{what} not found within {patience_s:.0f} s"
    return f"{what} found after {seconds:.1f} s"
