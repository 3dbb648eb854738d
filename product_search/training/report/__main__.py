"""`python -m product_search.training.report`: the starter measured, docs/starter-model.md.

python -m product_search.training.report --grocery DIR --clothing DIR --emoji DIR
    --imagenet-samples DIR --efficientnet-weights FILE [--models models] [--out FILE]

The folders are those of product_search.training.starter, and one photo of each ImageNet class,
named so that they sort in the order of the classes (github EliSchwartz/imagenet-sample-images).
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from product_search.encoders.bge import BgeEncoder
from product_search.encoders.colour import COLOURS, text_colours
from product_search.encoders.starter import StarterEncoder
from product_search.training.report.baseline import RidgeEncoder
from product_search.training.report.figures import (
    Encoder,
    PhotoEmbeddings,
    best_scores,
    breadth_figures,
    colour_figures,
    confusions,
    held_out_images,
    labels_of,
    object_figures,
    per_query,
    recoloured_drawings,
    text_scores,
    title_queries,
)
from product_search.training.starter import words
from product_search.training.starter.images import Photo, read_photos
from product_search.training.starter.measures import (
    bootstrap_interval,
    image_to_image_precisions,
    score_rankings,
)
from product_search.training.starter.text_space import Floats

log = logging.getLogger(__name__)

PERCENTILES = (5, 25, 50, 75, 95)
CONFUSIONS = 25
PROSE = Path(__file__).parent / "report.md"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def mean_and_interval(values: Floats) -> str:
    """Format the mean and its bootstrap interval of 95 %."""
    mean, low, high = bootstrap_interval(values)
    return f"{mean:.3f} ({low:.3f} to {high:.3f})"


def main_figures(
    ridge: PhotoEmbeddings,
    starter: PhotoEmbeddings,
    photos: Sequence[Photo],
    objects: Mapping[str, Image.Image],
) -> str:
    """Tabulate each figure of both encoders, and of their difference query by query."""
    before, after = (
        per_query(embeddings, photos) | object_figures(embeddings.encoder, objects)
        for embeddings in (ridge, starter)
    )
    rows = [
        [name, str(len(values)), mean_and_interval(before[name]), mean_and_interval(values),
         mean_and_interval(values - before[name])]
        for name, values in after.items()
    ]  # fmt: skip
    return table(["figure", "queries", "ridge", "starter", "difference"], rows)


def colours(ridge: Encoder, starter: Encoder, emoji: Path) -> str:
    """Tabulate how well colours are told in images and in texts."""
    pictures = recoloured_drawings(emoji)
    rows = comparison_rows(colour_figures(ridge, pictures), colour_figures(starter, pictures))
    queries = words.colour_queries()
    read = text_colours([query for query, _ in queries])
    named = [COLOURS[row.argmax()] if row.any() else "-" for row in read]
    right = np.array([name == colour for name, (_, colour) in zip(named, queries, strict=True)])
    last = ["colour (or none) read from a text", str(len(queries)), "", f"{right.mean():.2f}"]
    return table(["figure", "queries", "ridge", "starter"], [*rows, last])


def breadth(ridge: Encoder, starter: Encoder, folder: Path) -> str:
    """Tabulate the figures on photos of classes that neither encoder was fitted on."""
    rows = comparison_rows(breadth_figures(ridge, folder), breadth_figures(starter, folder))
    return table(["figure", "queries", "ridge", "starter"], rows)


def comparison_rows(before: Mapping[str, Floats], after: Mapping[str, Floats]) -> list[list[str]]:
    """Return a row for each figure: name, queries, both encoders' values."""
    return [
        [name, str(len(values)), mean_and_interval(before[name]), mean_and_interval(values)]
        for name, values in after.items()
    ]


def by_kind(ridge: PhotoEmbeddings, starter: PhotoEmbeddings, photos: Sequence[Photo]) -> str:
    """Tabulate each class of the validation photos, the weakest first."""
    labels, queries = labels_of(photos), title_queries(photos)
    relevant = np.array([label for label, _ in queries])[:, None] == labels[None]
    found = [
        score_rankings(
            text_scores(embeddings, queries).astype(np.float64), relevant
        ).average_precisions
        for embeddings in (ridge, starter)
    ]
    alike = image_to_image_precisions(starter.photos.astype(np.float64), labels)
    # Photos alone of their class have no other to find, and no value.
    paired = np.array([(labels == label).sum() > 1 for label in labels])
    own = labels[paired]
    rows = []
    for index in np.argsort(found[1], kind="stable"):
        label, title = queries[index]
        near = f"{alike[own == label].mean():.2f}" if (own == label).any() else "–"
        count = str(int((labels == label).sum()))
        rows.append([title, count, f"{found[0][index]:.2f}", f"{found[1][index]:.2f}", near])
    head = ["class", "photos", "mAP@100 ridge", "mAP@100 starter", "image→image P@10 starter"]
    return table(head, rows)


def scores(starter: PhotoEmbeddings, photos: Sequence[Photo]) -> str:
    """Tabulate the best scores by kind of query, and compare unknown queries with right ones."""
    best = best_scores(starter, photos)
    rows = [
        [name, str(len(values)), *(f"{np.percentile(values, p):.2f}" for p in PERCENTILES)]
        for name, values in best.items()
    ]
    right, _, unknown = best.values()
    above = float((unknown > np.median(right)).mean())
    head = ["queries", "number", *(f"{percentile} %" for percentile in PERCENTILES)]
    return (
        f"{table(head, rows)}\n\nShare of the queries that name nothing here and still score above "
        f"the median right answer: **{above:.3f}**."
    )


def sizes(models: Path) -> str:
    """Tabulate the files that ship."""
    files = sorted(path for path in models.rglob("*") if path.is_file())
    rows = [
        [f"`{path.relative_to(models)}`", f"{path.stat().st_size / 1e6:.1f} MB"]
        for path in files
        if path.stat().st_size > 100_000
    ]
    total = sum(path.stat().st_size for path in files) / 1e6
    return table(["file", "size"], [*rows, ["**all of models/**", f"**{total:.1f} MB**"]])


def write(args: argparse.Namespace) -> None:
    """Measure both encoders and fill the prose."""
    photos = [*read_photos("grocery", args.grocery), *read_photos("clothing", args.clothing)]
    validation = [photo for photo in photos if photo.kind == "validation"]
    bge = BgeEncoder(args.models / "bge-small-zh-v1.5")
    shipped = StarterEncoder(args.models / "starter", bge)
    starter = PhotoEmbeddings.encode(shipped, validation)
    log.info("the starter has encoded the photos")
    training = [photo for photo in photos if photo.kind != "validation"]
    fitted = RidgeEncoder(args.efficientnet_weights, bge, training)
    ridge = PhotoEmbeddings.encode(fitted, validation)
    log.info("the ridge has encoded the photos")
    wrong = [
        [own, nearest, str(count)]
        for own, nearest, count in confusions(starter, validation, CONFUSIONS)
    ]
    text = PROSE.read_text(encoding="utf-8").format(
        photos=len(validation),
        classes=len(title_queries(validation)),
        main=main_figures(ridge, starter, validation, held_out_images(args.emoji)),
        colours=colours(fitted, shipped, args.emoji),
        breadth=breadth(fitted, shipped, args.imagenet_samples),
        scores=scores(starter, validation),
        kinds=by_kind(ridge, starter, validation),
        confusions=table(["shown", "said", "photos"], wrong),
        sizes=sizes(args.models),
    )
    args.out.write_text(text, encoding="utf-8")
    log.info("written to %s", args.out)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m product_search.training.report")
    for name in ("grocery", "clothing", "emoji", "imagenet-samples", "efficientnet-weights"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--out", type=Path, default=Path("docs/starter-model.md"))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    write(parser.parse_args(argv))


if __name__ == "__main__":
    main()
