"""Door: `python -m product_search.evaluation.full`, docs/evaluation.md by one command."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_models import Leg
from product_search.bootstrap.assemble import Resources
from product_search.evaluation import command, report, searches
from product_search.evaluation.measures import confidence, no_match, pairs, ranking
from product_search.evaluation.measures.ranking import FITS, PerQuery
from product_search.evaluation.sets import queries, trec
from product_search.evaluation.sets.halves import HALVES, half_of, kind_of
from product_search.evaluation.sets.photos import by_photo, write_catalog
from product_search.evaluation.sets.queries import Questions, Way
from product_search.search.search import SearchService
from product_search.settings import ROOT, load_settings

SETS = ROOT / "tests" / "relevance"
CATALOG = ROOT / "sample_data" / "catalog.csv"
_LOOKED_AT = 50  # hits of a query for the reliability diagram
_FIRST = ("model", "brand")  # kinds whose first hit must be right


@dataclass(frozen=True)
class JudgedSet:
    """A set of queries with its judgements and the ways to search with them."""

    title: str
    name: str
    questions: Questions
    qrels: trec.Qrels
    ways: Mapping[str, Way]

    def half(self, half: str) -> JudgedSet:
        """Only the queries of this half."""
        chosen = {qid: one for qid, one in self.questions.items() if half_of(qid) == half}
        qrels = {qid: grades for qid, grades in self.qrels.items() if qid in chosen}
        return JudgedSet(self.title, self.name, chosen, qrels, self.ways)


def main() -> int:
    """0; 2 where it can't be done, with the reason."""
    return command.run("evaluation.full", _add_arguments, _write)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--photos", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")


def _write(options: argparse.Namespace) -> int:
    photos, out = options.photos, options.out
    pictures = out / "evaluation"
    pictures.mkdir(parents=True, exist_ok=True)
    settings = load_settings()
    with searches.open_catalog(settings, CATALOG) as resources:
        lines = [*_head(resources)]
        for judged in _sets(resources, photos):
            lines += _section(resources.search, judged, pictures)
        lines += _pairs(resources)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "photos.csv"
        classes = write_catalog(photos, table)
        with searches.open_catalog(settings, table, photos) as resources:
            lines += _section(resources.search, _photos(classes), pictures)
    (out / "evaluation.md").write_text("\n".join(lines) + "\n", "utf-8")
    return 0


def _photos(classes: dict[str, list[str]]) -> JudgedSet:
    """Queries that no class with photos answers are left out: they are not nonsense."""
    judged = SETS / "photos" / "classes.txt"
    qrels = by_photo(judged, classes)
    unanswered = trec.read_qrels(judged).keys() - qrels.keys()
    texts = queries.texts(SETS / "photos" / "queries.tsv")
    questions = {qid: one for qid, one in texts.items() if qid not in unanswered}
    title = f"Texts over {sum(map(len, classes.values()))} photos, each titled by its class alone"
    return JudgedSet(title, "photos", questions, qrels, queries.TEXT_WAYS)


def _pairs(resources: Resources) -> Iterator[str]:
    """The half of the products that the pair curve was not fitted on."""
    calibration = resources.search.calibrated(resources.encoders.fingerprint)
    assert calibration.pairs is not None, "the encoders are calibrated"
    found = pairs.judged(calibration.pairs, Leg.image_to_text.value, pairs.pairs(resources, 1))
    yield from ["", "## Pictures and titles", ""]
    yield (
        f"`POST /match` over {found.count} pairs of the products that were not fitted on: of "
        f"pictures with their own titles {found.of_own:.3f} are told to belong together, of those "
        f"with a title from another category {found.of_others:.3f} not to."
    )


def _head(resources: Resources) -> Iterator[str]:
    yield "# How good search is"
    yield ""
    yield (
        "Written by `make evaluation`. Real retrieval over the sample catalogue (298 products), "
        f"encoders `{resources.encoders.name}` ({resources.encoders.fingerprint}). Weights, ramps "
        "and curves were found on the tuning half; figures are of the reported half unless they "
        "say otherwise. In brackets: bootstrap intervals of 95 %. Recall and MRR count products "
        f"of grade {FITS} or 3, nDCG all grades; ranking is measured without a line "
        "(`min_confidence: 0`), no match with the calibrated one."
    )


def _sets(resources: Resources, photos: Path) -> Iterator[JudgedSet]:
    def judged(name: str, title: str, questions: Questions, ways: Mapping[str, Way]) -> JudgedSet:
        return JudgedSet(title, name, questions, trec.read_qrels(SETS / name / "qrels.txt"), ways)

    texts = queries.texts(SETS / "catalog" / "queries.tsv")
    yield judged("catalog", "Texts", texts, queries.TEXT_WAYS)
    ids = searches.product_ids(resources.database)
    composed = queries.composed(SETS / "composed" / "queries.jsonl", ids)
    yield judged("composed", "Composed queries", composed, queries.COMPOSED_WAYS)
    pictures = queries.pictures(SETS / "images" / "queries.tsv", photos)
    yield judged("images", "Pictures", pictures, queries.IMAGE_WAYS)


def _section(retrieval: SearchService, judged: JudgedSet, pictures: Path) -> Iterator[str]:
    halves: dict[str, JudgedSet] = {half: judged.half(half) for half in HALVES}
    results: dict[str, dict[str, PerQuery]] = {
        half: {name: _measured(retrieval, one, way) for name, way in judged.ways.items()}
        for half, one in halves.items()
    }
    reported = results["reported"]
    one = halves["reported"]
    yield from ["", f"## {judged.title}", ""]
    yield f"{len(one.questions)} queries, {len(one.qrels)} of them with a match."
    yield from ["", *report.table(reported)]
    if len(judged.ways) > 1:
        yield from ["", *_best_single(results)]
    yield from ["", f"![nDCG and recall](evaluation/{judged.name}.png)", "", *_by_kind(reported)]
    if judged.name == "catalog":
        yield from ["", *_first_hits(reported)]
    if len(one.qrels) < len(one.questions):
        yield from ["", *_no_matches(retrieval, halves)]
    yield from ["", *_reliabilities(retrieval, one, pictures)]
    report.plot(reported, pictures / f"{judged.name}.png")
    found = report.document(reported, {"half": "reported", "queries": len(one.qrels)})
    (pictures / f"{judged.name}.json").write_text(
        json.dumps(found, ensure_ascii=False, indent=1) + "\n", "utf-8"
    )


def _measured(retrieval: SearchService, judged: JudgedSet, way: Way) -> PerQuery:
    questions = {qid: judged.questions[qid] for qid in judged.qrels}
    return ranking.per_query(judged.qrels, searches.run(retrieval, questions, way))


def _best_single(results: Mapping[str, Mapping[str, PerQuery]]) -> Iterator[str]:
    """Hybrid less the single leg that was best on the tuning half."""
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
    for name, found in results.items():
        means = (_mean(found["ndcg@10"], kind) for kind in kinds)
        yield f"| {name} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |"


def _mean(values: Mapping[str, float], kind: str) -> float:
    some = [value for qid, value in values.items() if kind_of(qid) == kind]
    return sum(some) / len(some)


def _first_hits(results: Mapping[str, PerQuery]) -> Iterator[str]:
    """How often the first hit of a model number or a brand fits."""
    for kind in _FIRST:
        found = results["hybrid"]["mrr@10"]
        firsts = [value for qid, value in found.items() if kind_of(qid) == kind]
        right = sum(value == 1 for value in firsts)
        yield f"The first hit fits in {right} of {len(firsts)} queries of the kind `{kind}`."


def _no_matches(retrieval: SearchService, halves: Mapping[str, JudgedSet]) -> Iterator[str]:
    yield "No match, by the calibrated line:"
    yield ""
    yield "| mode | half | queries without a match | told | precision | recall |"
    yield "|---|---|---|---|---|---|"
    for half, judged in halves.items():
        for name, way in judged.ways.items():
            found = no_match.tell(retrieval, judged.questions, judged.qrels, way)
            yield (
                f"| {name} | {half} | {len(found.true)} | {len(found.told)} "
                f"| {found.precision:.3f} | {found.recall:.3f} |"
            )


def _reliabilities(retrieval: SearchService, judged: JudgedSet, pictures: Path) -> Iterator[str]:
    found = {name: _reliability(retrieval, judged, way) for name, way in judged.ways.items()}
    confidence.plot(found, pictures / f"{judged.name}-reliability.png")
    yield "Confidence against the share that fits, of each query's first 50 hits:"
    yield ""
    yield "| mode | hits | Brier score | expected calibration error |"
    yield "|---|---|---|---|"
    for name, one in found.items():
        count = sum(each.count for each in one.bins)
        yield f"| {name} | {count} | {one.brier:.4f} | {one.error:.4f} |"
    yield ""
    yield f"![Reliability](evaluation/{judged.name}-reliability.png)"


def _reliability(retrieval: SearchService, judged: JudgedSet, way: Way) -> confidence.Reliability:
    pairs: list[tuple[float, bool]] = []
    for qid, question in judged.questions.items():
        grades: Mapping[str, Any] = judged.qrels.get(qid, {})
        for hit in searches.ask(retrieval, question, way).hits[:_LOOKED_AT]:
            assert hit.confidence is not None, "the encoders are calibrated"
            pairs.append((hit.confidence, grades.get(hit.product.sku or "", 0) >= FITS))
    return confidence.reliability([one for one, _ in pairs], [fits for _, fits in pairs])


if __name__ == "__main__":
    sys.exit(main())
