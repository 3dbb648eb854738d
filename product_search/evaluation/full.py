"""`python -m product_search.evaluation.full`: docs/evaluation.md by one command."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from data_models import Leg
from product_search.bootstrap.assemble import Resources
from product_search.evaluation import command, left_out, report, searches
from product_search.evaluation.calibrate import fit_ramps
from product_search.evaluation.catalogs import CATALOG, SETS, read_sample, read_shop
from product_search.evaluation.measures import confidence, pairs, ranking
from product_search.evaluation.measures.ranking import FITS, PerQuery
from product_search.evaluation.sets import queries, trec
from product_search.evaluation.sets.photos import read_photo_qrels, write_catalog
from product_search.evaluation.sets.queries import (
    HALVES,
    Half,
    Mode,
    Queries,
    QuerySet,
    kind_of,
)
from product_search.evaluation.sets.shops import SEALED, SHOPS
from product_search.search.search import SearchService
from product_search.settings import ROOT, load_settings

_RELIABILITY_DEPTH = 50  # hits of a query for the reliability diagram
_FIRST_HIT_KINDS = ("model", "brand")  # kinds of queries whose first hit must fit


@dataclass(frozen=True)
class Section:
    """A query set under its heading; `name` is that of its files."""

    name: str
    title: str
    query_set: QuerySet


def main() -> int:
    """Return 0; 2 after an error, whose reason is logged."""
    return command.run("evaluation.full", _add_arguments, _write)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--photos", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    parser.add_argument("--sealed", action="store_true", help="也报告封存的店：只在最后一次")


def _write(options: argparse.Namespace) -> int:
    photos, out = options.photos, options.out
    folder = out / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    settings = load_settings()
    with searches.open_catalog(settings, CATALOG) as resources:
        sample = read_sample(resources, photos)
        of_sample = [
            line
            for section in _catalog_sections(resources, photos)
            for line in _lines(resources.search, section, folder)
        ]
        head, of_pairs = list(_head(resources)), list(_pair_lines(resources))
    shops = [read_shop(settings, name) for name in SHOPS]
    sealed = [read_shop(settings, SEALED)] if options.sealed else []
    left_out_ones = list(left_out.leave_out([sample, *shops], fit_ramps(sample), sealed))
    lines = [*head, *left_out.lines(left_out_ones, folder), *of_sample, *of_pairs]
    with tempfile.TemporaryDirectory() as temporary:
        table = Path(temporary) / "photos.csv"
        classes = write_catalog(photos, table)
        with searches.open_catalog(settings, table, photos) as resources:
            lines += _lines(resources.search, _photo_section(classes), folder)
    (out / "evaluation.md").write_text("\n".join(lines) + "\n", "utf-8")
    return 0


def _catalog_sections(resources: Resources, photos: Path) -> Iterator[Section]:
    def section(name: str, title: str, of_set: Queries, modes: Mapping[str, Mode]) -> Section:
        qrels = trec.read_qrels(SETS / name / "qrels.txt")
        return Section(name, title, QuerySet(of_set, qrels, modes))

    texts = queries.read_text_queries(SETS / "catalog" / "queries.tsv")
    yield section("catalog", "Texts", texts, queries.TEXT_MODES)
    ids = searches.product_ids(resources.database)
    composed = queries.read_composed_queries(SETS / "composed" / "queries.jsonl", ids)
    yield section("composed", "Composed queries", composed, queries.COMPOSED_MODES)
    images = queries.read_image_queries(SETS / "images" / "queries.tsv", photos)
    yield section("images", "Pictures", images, queries.IMAGE_MODES)


def _photo_section(classes: dict[str, list[str]]) -> Section:
    """Leave out the queries whose classes have no photos: they are not nonsense."""
    path = SETS / "photos" / "classes.txt"
    qrels = read_photo_qrels(path, classes)
    without_photos = trec.read_qrels(path).keys() - qrels.keys()
    texts = queries.read_text_queries(SETS / "photos" / "queries.tsv")
    kept = {qid: query for qid, query in texts.items() if qid not in without_photos}
    title = f"Texts over {sum(map(len, classes.values()))} photos, each titled by its class alone"
    return Section("photos", title, QuerySet(kept, qrels, queries.TEXT_MODES))


def _pair_lines(resources: Resources) -> Iterator[str]:
    """Measure the half of the products that the pair curve was not fitted on."""
    calibration = resources.search.calibrations.of(resources.encoders.fingerprint)
    assert calibration.pairs is not None, "the encoders are calibrated"
    sample = pairs.read_pairs(resources, 1)
    accuracy = pairs.pair_accuracy(calibration.pairs, Leg.image_to_text.value, sample)
    yield from ["", "## Pictures and titles", ""]
    yield (
        f"`POST /match` over {accuracy.count} pairs of the products that were not fitted on: of "
        f"pictures with their own titles {accuracy.own:.3f} are told to belong together, of those "
        f"with a title from another category {accuracy.others:.3f} not to."
    )


def _head(resources: Resources) -> Iterator[str]:
    yield "# How good search is"
    yield ""
    yield (
        "Written by `make evaluation`. Real retrieval, encoders "
        f"`{resources.encoders.name}` ({resources.encoders.fingerprint}): first over several "
        "catalogues, each by what was fitted on the others, then over the sample catalogue (298 "
        "products) and over photos, by the calibration that ships. Of the sample catalogue's "
        "queries one half tunes, and figures are of the other unless they say otherwise. "
        "In brackets: bootstrap intervals of 95 %. Recall and MRR count products "
        f"of grade {FITS} or 3, nDCG all grades; ranking is measured without a line "
        "(`min_confidence: 0`), no match with the calibrated one."
    )


def _lines(service: SearchService, section: Section, folder: Path) -> Iterator[str]:
    halves = {half: section.query_set.half(half) for half in HALVES}
    results: dict[Half, dict[str, PerQuery]] = {
        half: {name: _measure(service, of_half, mode) for name, mode in of_half.modes.items()}
        for half, of_half in halves.items()
    }
    reported, query_set = results["reported"], halves["reported"]
    yield from ["", f"## {section.title}", ""]
    yield f"{len(query_set.queries)} queries, {len(query_set.qrels)} of them with a match."
    yield from ["", *report.table(reported)]
    if len(query_set.modes) > 1:
        yield from ["", *_best_single(results)]
    yield from ["", f"![nDCG and recall](evaluation/{section.name}.png)", "", *_by_kind(reported)]
    if section.name == "catalog":
        yield from ["", *_first_hits(reported)]
    if len(query_set.qrels) < len(query_set.queries):
        yield from ["", *_no_matches(service, halves)]
    yield from ["", *_reliabilities(service, section.name, query_set, folder)]
    report.plot(reported, folder / f"{section.name}.png")
    document = report.document(reported, {"half": "reported", "queries": len(query_set.qrels)})
    (folder / f"{section.name}.json").write_text(
        json.dumps(document, ensure_ascii=False, indent=1) + "\n", "utf-8"
    )


def _measure(service: SearchService, query_set: QuerySet, mode: Mode) -> PerQuery:
    judged = {qid: query_set.queries[qid] for qid in query_set.qrels}
    return ranking.per_query(query_set.qrels, searches.rank(service, judged, mode))


def _best_single(results: Mapping[Half, Mapping[str, PerQuery]]) -> Iterator[str]:
    """Compare hybrid with the single leg that was best on the tuning half."""
    tuning = report.estimates(results["tuning"])
    alone = [name for name in tuning if name != "hybrid"]
    if "hybrid" in tuning:
        best = max(alone, key=lambda name: tuning[name]["ndcg@10"].mean)
        yield from report.comparisons(results["reported"], [("hybrid", best)])
    else:
        yield from report.comparisons(results["reported"], [tuple(alone[:2])])


def _by_kind(results: Mapping[str, PerQuery]) -> Iterator[str]:
    kinds = list(dict.fromkeys(map(kind_of, next(iter(results.values()))["ndcg@10"])))
    yield "nDCG@10 by kind of query:"
    yield ""
    yield "| mode | " + " | ".join(kinds) + " |"
    yield "|---" * (1 + len(kinds)) + "|"
    for name, measured in results.items():
        means = (_mean(measured["ndcg@10"], kind) for kind in kinds)
        yield f"| {name} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |"


def _mean(values: Mapping[str, float], kind: str) -> float:
    of_kind = [value for qid, value in values.items() if kind_of(qid) == kind]
    return sum(of_kind) / len(of_kind)


def _first_hits(results: Mapping[str, PerQuery]) -> Iterator[str]:
    """Count how often the first hit of a model number or a brand fits."""
    for kind in _FIRST_HIT_KINDS:
        ranks = results["hybrid"]["mrr@10"]
        firsts = [value for qid, value in ranks.items() if kind_of(qid) == kind]
        right = sum(value == 1 for value in firsts)
        yield f"The first hit fits in {right} of {len(firsts)} queries of the kind `{kind}`."


def _no_matches(service: SearchService, halves: Mapping[Half, QuerySet]) -> Iterator[str]:
    yield "No match, by the calibrated line:"
    yield ""
    yield "| mode | half | queries without a match | told | precision | recall |"
    yield "|---|---|---|---|---|---|"
    for half, query_set in halves.items():
        for name, mode in query_set.modes.items():
            found = _no_match(service, query_set, mode)
            yield (
                f"| {name} | {half} | {len(found.actual)} | {len(found.predicted)} "
                f"| {found.precision:.3f} | {found.recall:.3f} |"
            )


def _no_match(service: SearchService, query_set: QuerySet, mode: Mode) -> confidence.NoMatch:
    predicted = {
        qid
        for qid, query in query_set.queries.items()
        if searches.search(service, query, mode, min_confidence=None).no_match
    }
    actual = query_set.queries.keys() - query_set.qrels.keys()
    return confidence.NoMatch(frozenset(predicted), frozenset(actual))


def _reliabilities(
    service: SearchService, name: str, query_set: QuerySet, folder: Path
) -> Iterator[str]:
    by_mode = {
        mode: _reliability(service, query_set, fields) for mode, fields in query_set.modes.items()
    }
    confidence.plot(by_mode, folder / f"{name}-reliability.png")
    yield "Confidence against the share that fits, of each query's first 50 hits:"
    yield ""
    yield "| mode | hits | Brier score | expected calibration error |"
    yield "|---|---|---|---|"
    for mode, found in by_mode.items():
        count = sum(each.count for each in found.bins)
        yield f"| {mode} | {count} | {found.brier:.4f} | {found.error:.4f} |"
    yield ""
    yield f"![Reliability](evaluation/{name}-reliability.png)"


def _reliability(service: SearchService, query_set: QuerySet, mode: Mode) -> confidence.Reliability:
    confidences: list[float] = []
    fits: list[bool] = []
    for qid, query in query_set.queries.items():
        grades = query_set.qrels.get(qid, {})
        for hit in searches.search(service, query, mode).hits[:_RELIABILITY_DEPTH]:
            assert hit.confidence is not None, "the encoders are calibrated"
            confidences.append(hit.confidence)
            fits.append(grades.get(hit.product.sku or "", 0) >= FITS)
    return confidence.reliability(confidences, fits)


if __name__ == "__main__":
    sys.exit(main())
