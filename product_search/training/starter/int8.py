"""`python -m product_search.training.starter.int8`: image-int8.onnx, made of image.onnx.

python -m product_search.training.starter.int8 --grocery DIR --clothing DIR --models models/starter

The ranges of what passes between the layers are those of photos that the starter was trained on
(product_search.training.starter says where they come from) and of the sample catalogue's pictures;
docs/decisions/0024-int8-images.md gives the reasons.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx

from product_search.encoders.agreement import Agreement
from product_search.encoders.embeddings import Matrix, normalised
from product_search.encoders.starter import network_pixels
from product_search.settings import ROOT
from product_search.training.starter.activations import observe, simplified
from product_search.training.starter.images import Photo, open_image, read_photos
from product_search.training.starter.network import open_session, store_half_precision
from product_search.training.starter.quantised import Quantiser, convolutions

log = logging.getLogger(__name__)

# The first blocks in int8 too would save a sixth of the time, and add half to the distance.
FLOAT_BLOCKS = ("/trunk/stem/", *(f"/trunk/blocks/blocks.{block}/" for block in range(3)))
# Pictures that the ranges are taken from, and other photos by which the agreement is told.
PHOTOS = 128
DRAWINGS = 138
COMPARED = 160
_THREADS = 2


def quantise(network: Path, pixels: Matrix, target: Path) -> None:
    """Write the network with its later blocks in int8.

    Args:
        network: image.onnx.
        pixels: (n, 3, 224, 224) of pictures that the ranges are taken from.
        target: image-int8.onnx.
    """
    with tempfile.TemporaryDirectory() as work:
        model = simplified(network, Path(work))
    layers = [
        layer for layer in convolutions(model) if not layer.node.name.startswith(FLOAT_BLOCKS)
    ]
    values = dict.fromkeys(name for layer in layers for name in (layer.input, layer.output))
    quantiser = Quantiser(model, observe(model, values, pixels))
    onnx.save(quantiser.convert(layers), target)
    store_half_precision(target, keep=quantiser.scales)


def ranges_pixels(grocery: Path, clothing: Path) -> Matrix:
    """Return the pixels of the pictures that ranges are taken from: training photos, drawings."""
    photos = [photo.path for photo in _photos(grocery, clothing) if photo.kind != "validation"]
    drawings = sorted((ROOT / "sample_data" / "images").glob("*.webp"))
    chosen = [*_evenly(photos, PHOTOS), *_evenly(drawings, DRAWINGS)]
    return network_pixels([open_image(path) for path in chosen])


def agreement(network: Path, exact: Path, paths: Sequence[Path]) -> Agreement:
    """Compare two networks' embeddings of some pictures."""
    pixels = network_pixels([open_image(path) for path in paths])
    return Agreement.between(*(_embedded(path, pixels) for path in (network, exact)))


def _embedded(network: Path, pixels: Matrix) -> Matrix:
    session = open_session(network, _THREADS)
    (embedded,) = session.run(["embedding"], {"pixels": pixels})
    return normalised(embedded)


def _photos(grocery: Path, clothing: Path) -> list[Photo]:
    return [*read_photos("grocery", grocery), *read_photos("clothing", clothing)]


def _evenly(paths: Sequence[Path], count: int) -> list[Path]:
    return [paths[index * len(paths) // count] for index in range(count)]


def main(argv: Sequence[str] | None = None) -> None:
    """Write image-int8.onnx beside image.onnx.

    Raises:
        RuntimeError: it does not agree with image.onnx about validation photos.
    """
    parser = argparse.ArgumentParser(prog="python -m product_search.training.starter.int8")
    for name in ("grocery", "clothing", "models"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    exact, target = args.models / "image.onnx", args.models / "image-int8.onnx"
    quantise(exact, ranges_pixels(args.grocery, args.clothing), target)
    unseen = [p.path for p in _photos(args.grocery, args.clothing) if p.kind == "validation"]
    found = agreement(target, exact, _evenly(unseen, COMPARED))
    log.info("%d photos: cosine %.4f, least %.4f", found.count, found.mean, found.least)
    if not found.is_close:
        raise RuntimeError(f"int8 is too far from float32: {found}")


if __name__ == "__main__":
    main()
