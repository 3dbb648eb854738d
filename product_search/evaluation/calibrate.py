"""Door: `python -m product_search.evaluation.calibrate`, confidence fitted on judged queries."""

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
from product_search.evaluation.sets.halves import half_of
from product_search.evaluation.sets.queries import Asked, Way
from product_search.search.calibration import Calibration, Curve, curve_name
from product_search.search.search import SearchService
from product_search.settings import load_settings

_LOOKED_AT = 50  # hits of a query: further down nothing is like what a threshold decides on
_TEXT_LEGS = (Leg.bm25, Leg.text_to_text, Leg.text_to_image)
# A dense leg's ranks count from the best score that it gives to what has no match, and in full
# from the one that it gives to what has: these shares of the queries are left out on either side.
_OUTLIERS = 0.1
_PRECISION = 0.9  # of what is told to have no match, so much has none
_LOST = 0.02  # of what fits, so much may be below a line that tells nothing


@dataclass(frozen=True)
class Sample:
    """A hit of a judged query."""

    qid: str
    features: Mapping[str, float]
    fits: bool


def main() -> int:
    """0; 2 where it can't be done, with the reason."""
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
        fitted = fit(resources.search, resources.encoders.fingerprint, sets)
        pairs_curve = _pair_curve(pairs.pairs(resources, 0))
        fitted = fitted.model_copy(update={"pairs": pairs_curve})
    folder = options.out or settings.calibrations_dir
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{fitted.fingerprint}.json"
    path.write_text(fitted.model_dump_json(indent=1) + "\n", "utf-8")
    sys.stdout.write(f"{path}\n")
    return 0


@dataclass(frozen=True)
class JudgedSet:
    """Queries of one kind, their judgements, and the ways to search with them."""

    questions: Mapping[str, Asked]
    qrels: trec.Qrels
    ways: Sequence[Way]


def _sets(options: argparse.Namespace, resources: Resources) -> Iterator[JudgedSet]:
    """The tuning halves."""
    yield _tuning(queries.texts(options.texts / "queries.tsv"), options.texts, _text_ways())
    if options.pictures:
        questions = queries.pictures(options.pictures / "queries.tsv", options.photos)
        yield _tuning(questions, options.pictures, list(queries.IMAGE_WAYS.values()))
    if options.composed:
        ids = searches.product_ids(resources.database)
        questions = queries.composed(options.composed / "queries.jsonl", ids)
        mixed = {qid: one for qid, one in questions.items() if _is_mixed(one)}
        yield _tuning(mixed, options.composed, _composed_ways())


def _tuning(questions: queries.Questions, folder: Path, ways: Sequence[Way]) -> JudgedSet:
    chosen = {qid: one for qid, one in questions.items() if half_of(qid) == "tuning"}
    return JudgedSet(chosen, trec.read_qrels(folder / "qrels.txt"), ways)


def _is_mixed(question: Asked) -> bool:
    """Whether texts and images are wanted: else it has the features of one of the other sets."""
    wanted = [part for part in question.fields["parts"] if part["weight"] > 0]
    return any("text" in part for part in wanted) and any("text" not in part for part in wanted)


def _composed_ways() -> list[Way]:
    """The image's leg with every choice of the others, at least one of them."""
    return [
        {"mode": SearchMode.hybrid, "legs": {leg.value: 0.0 for leg in off}}
        for count in range(len(_TEXT_LEGS))
        for off in itertools.combinations(_TEXT_LEGS, count)
    ]


def _text_ways() -> list[Way]:
    """Every choice of legs; of one dense leg as its own mode, which has the same features."""
    return [
        queries.legs(*chosen)
        for count in range(1, len(_TEXT_LEGS) + 1)
        for chosen in itertools.combinations(_TEXT_LEGS, count)
    ]


def fit(retrieval: SearchService, fingerprint: str, sets: Iterable[JudgedSet]) -> Calibration:
    """The curves of all features that the answers have, and the ramps of the dense legs."""
    samples: dict[frozenset[str], list[Sample]] = {}
    for judged in sets:
        for way in judged.ways:
            for qid, question in judged.questions.items():
                answer = searches.ask(retrieval, question, way, explain=True)
                for sample in _samples(qid, answer, judged.qrels.get(qid, {})):
                    samples.setdefault(frozenset(sample.features), []).append(sample)
    curves = {curve_name(names): _curve(found) for names, found in samples.items()}
    return Calibration(
        fingerprint=fingerprint,
        ramps={
            leg.value: _ramp(leg, samples[frozenset({leg.value, "phrase"})])
            for leg in (Leg.text_to_text, Leg.text_to_image)
        },
        curves=dict(sorted(curves.items())),
    )


def _samples(qid: str, answer: SearchResponse, grades: Mapping[str, int]) -> Iterator[Sample]:
    for hit in answer.hits[:_LOOKED_AT]:
        assert hit.explain is not None
        fits = grades.get(hit.product.sku or "", 0) >= FITS
        yield Sample(qid, hit.explain.features, fits)


def _curve(samples: Sequence[Sample]) -> Curve:
    names = sorted(samples[0].features)
    values = np.array([[sample.features[name] for name in names] for sample in samples])
    model = LogisticRegression(C=1000.0, max_iter=10_000)
    model.fit(values, [sample.fits for sample in samples])
    curve = Curve(
        coefficients={
            name: round(float(one), 6) for name, one in zip(names, model.coef_[0], strict=True)
        },
        intercept=round(float(model.intercept_[0]), 6),
        line=0.0,
    )
    return curve.model_copy(update={"line": round(_line(curve, samples), 6)})


def _pair_curve(found: Sequence[pairs.Pair]) -> Curve:
    """Pairs that belong together are half of them: it is even where both are as likely."""
    model = LogisticRegression(C=1000.0).fit(
        [[pair.score] for pair in found], [pair.belongs for pair in found]
    )
    return Curve(
        coefficients={Leg.image_to_text.value: round(float(model.coef_[0][0]), 6)},
        intercept=round(float(model.intercept_[0]), 6),
        line=0.5,
    )


def _line(curve: Curve, samples: Sequence[Sample]) -> float:
    """Where most of what has no match is told, and _PRECISION of what is told has none.

    0, where nothing is told, if that can't be had: to be told of no match where there is one is
    worse than to be shown the nearest. Where every query has a match nothing says when to tell:
    then the line lets through all but _LOST of what fits.
    """
    best: dict[str, float] = {}
    fitting: list[float] = []
    matched: set[str] = set()
    for sample in samples:
        found = curve.confidence(sample.features)
        best[sample.qid] = max(best.get(sample.qid, 0.0), found)
        if sample.fits:
            fitting.append(found)
            matched.add(sample.qid)
    if len(matched) == len(best):
        return float(np.quantile(fitting, _LOST))
    ordered = sorted((found, qid in matched) for qid, found in best.items())
    right = list(itertools.accumulate((not one for _, one in ordered), initial=0))
    precise = [cut for cut in range(1, len(ordered) + 1) if right[cut] >= _PRECISION * cut]
    if not precise:
        return 0.0
    cut = max(precise, key=lambda cut: (right[cut], -cut))
    ends = [0.0, *(found for found, _ in ordered), 1.0]
    return (ends[cut] + ends[cut + 1]) / 2


def _ramp(leg: Leg, samples: Sequence[Sample]) -> tuple[float, float]:
    """From what the leg's best score is for queries without a match to what it is for others."""
    best: dict[str, float] = {}
    matched: set[str] = set()
    for sample in samples:
        score = sample.features[leg.value]
        best[sample.qid] = max(best.get(sample.qid, -1.0), score)
        matched |= {sample.qid} if sample.fits else set()
    none = [score for qid, score in best.items() if qid not in matched]
    some = [score for qid, score in best.items() if qid in matched]
    low, high = np.quantile(none, _OUTLIERS), np.quantile(some, 0.5)
    return round(float(low), 4), round(max(float(high), float(low) + 0.05), 4)


if __name__ == "__main__":
    sys.exit(main())
