"""`python -m product_search.evaluation.calibrate`: confidence, fitted on judged queries."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from data_models import Leg, SearchMode, SearchResponse
from product_search.bootstrap.assemble import Resources
from product_search.evaluation import command, searches
from product_search.evaluation.measures import pairs
from product_search.evaluation.measures.ranking import FITS
from product_search.evaluation.sets import queries, trec
from product_search.evaluation.sets.queries import Query, QuerySet
from product_search.search.calibration import Calibration, Curve, curve_name
from product_search.search.search import SearchService
from product_search.settings import load_settings

_DEPTH = 50  # hits of a query: further down nothing is like what a line decides on
# A dense leg's ranks begin to count at the best score that this share of the queries without a
# match stay below.
_OUTLIERS = 0.1
_PRECISION = 0.9  # the least precision of no match
_LOST = 0.02  # the share of fitting hits below a line that is set without any no match


@dataclass(frozen=True)
class Sample:
    """A hit of a judged query."""

    qid: str
    features: Mapping[str, float]
    fits: bool


def main() -> int:
    """Return 0; 2 after an error, whose reason is logged."""
    return command.run("evaluation.calibrate", _add_arguments, _calibrate)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--texts", type=Path, required=True, help="文件夹：queries.tsv、qrels.txt")
    parser.add_argument("--composed", type=Path, help="文件夹：queries.jsonl、qrels.txt")
    command.add_images(parser)
    parser.add_argument("--catalogue", dest="catalog", type=Path, help="临时导入这个商品文件")
    parser.add_argument("--out", type=Path, help="写到这个文件夹（默认：数据文件夹里）")


def _calibrate(options: argparse.Namespace) -> int:
    settings = load_settings()
    with searches.open_catalog(settings, options.catalog) as resources:
        sets = _sets(options, resources)
        calibration = fit(resources.search, resources.encoders.fingerprint, sets)
        pair_curve = _fit_pair_curve(pairs.read_pairs(resources, 0))
        calibration = calibration.model_copy(update={"pairs": pair_curve})
    folder = options.out or settings.calibrations_dir
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{calibration.fingerprint}.json"
    path.write_text(calibration.model_dump_json(indent=1) + "\n", "utf-8")
    sys.stdout.write(f"{path}\n")
    return 0


def _sets(options: argparse.Namespace, resources: Resources) -> Iterator[QuerySet]:
    """Yield the tuning halves."""
    texts = queries.read_text_queries(options.texts / "queries.tsv")
    yield _tuning_half(texts, options.texts, _text_modes())
    if options.pictures:
        images = queries.read_image_queries(options.pictures / "queries.tsv", options.photos)
        yield _tuning_half(images, options.pictures, list(queries.IMAGE_MODES.values()))
    if options.composed:
        ids = searches.product_ids(resources.database)
        composed = queries.read_composed_queries(options.composed / "queries.jsonl", ids)
        mixed = {qid: query for qid, query in composed.items() if _is_mixed(query)}
        yield _tuning_half(mixed, options.composed, _composed_modes())


def _tuning_half(of_set: queries.Queries, folder: Path, modes: Sequence[queries.Mode]) -> QuerySet:
    qrels = trec.read_qrels(folder / "qrels.txt")
    numbered = {str(number): mode for number, mode in enumerate(modes)}
    return QuerySet(of_set, qrels, numbered).half("tuning")


def _is_mixed(query: Query) -> bool:
    """Return whether texts and images are wanted; else its features are those of another set."""
    wanted = [part for part in query.fields["parts"] if part["weight"] > 0]
    return any("text" in part for part in wanted) and any("text" not in part for part in wanted)


def _composed_modes() -> list[queries.Mode]:
    """Return the image's leg with every choice of text legs, at least one of them."""
    return [
        {"mode": SearchMode.hybrid, "legs": {leg.value: 0.0 for leg in off}}
        for count in range(len(queries.TEXT_LEGS))
        for off in itertools.combinations(queries.TEXT_LEGS, count)
    ]


def _text_modes() -> list[queries.Mode]:
    """Return every choice of text legs; one dense leg alone has the features of its own mode."""
    return [
        queries.hybrid(*chosen)
        for count in range(1, len(queries.TEXT_LEGS) + 1)
        for chosen in itertools.combinations(queries.TEXT_LEGS, count)
    ]


def fit(service: SearchService, fingerprint: str, sets: Iterable[QuerySet]) -> Calibration:
    """Fit a curve for each combination of features among the hits, and the dense legs' ramps."""
    samples: dict[frozenset[str], list[Sample]] = {}
    for query_set in sets:
        for mode in query_set.modes.values():
            for qid, query in query_set.queries.items():
                answer = searches.search(service, query, mode, explain=True)
                for sample in _samples(qid, answer, query_set.qrels.get(qid, {})):
                    samples.setdefault(frozenset(sample.features), []).append(sample)
    curves = {curve_name(names): _fit_curve(found) for names, found in samples.items()}
    return Calibration(
        fingerprint=fingerprint,
        ramps={
            leg.value: _ramp(leg, samples[frozenset({leg.value, "phrase"})])
            for leg in (Leg.text_to_text, Leg.text_to_image)
        },
        curves=dict(sorted(curves.items())),
    )


def _samples(qid: str, answer: SearchResponse, grades: Mapping[str, int]) -> Iterator[Sample]:
    for hit in answer.hits[:_DEPTH]:
        assert hit.explain is not None
        fits = grades.get(hit.product.sku or "", 0) >= FITS
        yield Sample(qid, hit.explain.features, fits)


def _fit_curve(samples: Sequence[Sample]) -> Curve:
    names = sorted(samples[0].features)
    values = np.array([[sample.features[name] for name in names] for sample in samples])
    model = LogisticRegression(C=1000.0, max_iter=10_000)
    model.fit(values, [sample.fits for sample in samples])
    curve = Curve(
        coefficients={
            name: round(float(weight), 6)
            for name, weight in zip(names, model.coef_[0], strict=True)
        },
        intercept=round(float(model.intercept_[0]), 6),
        line=0.0,
    )
    return curve.model_copy(update={"line": round(_line(curve, samples), 6)})


def _fit_pair_curve(samples: Sequence[pairs.Pair]) -> Curve:
    """Fit the curve of pairs; half of them belong together, so its line is one half."""
    model = LogisticRegression(C=1000.0).fit(
        [[pair.score] for pair in samples], [pair.belongs for pair in samples]
    )
    return Curve(
        coefficients={Leg.image_to_text.value: round(float(model.coef_[0][0]), 6)},
        intercept=round(float(model.intercept_[0]), 6),
        line=0.5,
    )


def _line(curve: Curve, samples: Sequence[Sample]) -> float:
    """Return the confidence below which a query's best hit means no match.

    Of the lines whose no match is right in _PRECISION of the cases, the line that finds most of
    the queries without a match; 0, which finds none, where there is no such line: to be told of no
    match where there is one is worse than to be shown the nearest. Where every query has a match
    nothing says when to tell: then the line lets through all but _LOST of what fits.
    """
    best: dict[str, float] = {}
    fitting: list[float] = []
    matched: set[str] = set()
    for sample in samples:
        confidence = curve.confidence(sample.features)
        best[sample.qid] = max(best.get(sample.qid, 0.0), confidence)
        if sample.fits:
            fitting.append(confidence)
            matched.add(sample.qid)
    if len(matched) == len(best):
        return float(np.quantile(fitting, _LOST))
    ordered = sorted((confidence, qid in matched) for qid, confidence in best.items())
    right = list(itertools.accumulate((not has_match for _, has_match in ordered), initial=0))
    precise = [cut for cut in range(1, len(ordered) + 1) if right[cut] >= _PRECISION * cut]
    if not precise:
        return 0.0
    cut = max(precise, key=lambda cut: (right[cut], -cut))
    ends = [0.0, *(confidence for confidence, _ in ordered), 1.0]
    return (ends[cut] + ends[cut + 1]) / 2


def _ramp(leg: Leg, samples: Sequence[Sample]) -> tuple[float, float]:
    """Return the leg's best scores between which ranks count from not at all to in full."""
    best: dict[str, float] = {}
    matched: set[str] = set()
    for sample in samples:
        score = sample.features[leg.value]
        best[sample.qid] = max(best.get(sample.qid, -1.0), score)
        matched |= {sample.qid} if sample.fits else set()
    unmatched_scores = [score for qid, score in best.items() if qid not in matched]
    matched_scores = [score for qid, score in best.items() if qid in matched]
    low, high = np.quantile(unmatched_scores, _OUTLIERS), np.quantile(matched_scores, 0.5)
    return round(float(low), 4), round(max(float(high), float(low) + 0.05), 4)


if __name__ == "__main__":
    sys.exit(main())
