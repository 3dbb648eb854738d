"""Where the time of an import goes: milliseconds a product, stage by stage, in one run.

python -m benchmarks.import_stages FOLDER [SIDE]

FOLDER holds JPEG files; each is enlarged to SIDE pixels (default: as it is) and saved, as a shop
would send it, before anything is timed.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image

from product_search.bootstrap.encoders import EncoderLoader
from product_search.images.decoding import decode
from product_search.images.store import ImageStore
from product_search.settings import Settings

IMAGES = 256
BATCH = 32
QUALITY = 90
Item = TypeVar("Item")
Result = TypeVar("Result")


def _as_sent(path: Path, side: int) -> bytes:
    with Image.open(path) as file:
        picture = file.convert("RGB")
    scale = side / max(picture.size) if side else 1.0
    size = (round(picture.width * scale), round(picture.height * scale))
    sent = io.BytesIO()
    picture.resize(size, Image.Resampling.LANCZOS).save(sent, "JPEG", quality=QUALITY)
    return sent.getvalue()


def main() -> None:
    """Time every stage over the same images, in the indexer's batches."""
    folder, side = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    paths = sorted(folder.rglob("*.jpg"))
    sent = [_as_sent(path, side) for path in paths[:: max(1, len(paths) // IMAGES)][:IMAGES]]
    encoders = EncoderLoader(Settings()).load_chosen()
    spent: defaultdict[str, float] = defaultdict(float)

    def timed(stage: str, run: Callable[[Sequence[Item]], Result], items: Sequence[Item]) -> Result:
        start = time.perf_counter()
        result = run(items)
        spent[stage] += time.perf_counter() - start
        return result

    encoders.image_text.encode_images([Image.new("RGB", (64, 64))])
    with tempfile.TemporaryDirectory() as where:
        store = ImageStore(Path(where))
        for start in range(0, len(sent), BATCH):
            batch = sent[start : start + BATCH]
            pictures = timed("decode and check", lambda all_: [decode(one) for one in all_], batch)
            kept = timed("store the file", lambda all_: [store.save(one) for one in all_], batch)
            timed("read it again", lambda all_: [store.load(one) for one in all_], kept)
            timed("encode pictures", encoders.image_text.encode_images, pictures)
            titles = [f"商品 {start + index} 双肩包" for index in range(len(batch))]
            timed("encode titles", lambda all_: encoders.encode_products(all_, all_), titles)
    total = sum(spent.values())
    for stage, seconds in spent.items():
        each = 1000 * seconds / len(sent)
        sys.stdout.write(f"{stage}: {each:.1f} ms a product ({seconds / total:.0%})\n")
    sys.stdout.write(f"all: {1000 * total / len(sent):.1f} ms a product\n")


if __name__ == "__main__":
    main()
