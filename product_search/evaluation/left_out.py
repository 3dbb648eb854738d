"""Each catalogue measured by what was fitted on all others: the report's part on several shops."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from data_models import Leg
from product_search.evaluation import report
from product_search.evaluation.calibrate import fit
from product_search.evaluation.catalogs import SAMPLE, JudgedCatalog
from product_search.evaluation.fitting import answers_of, judged_hits
from product_search.evaluation.judged import JudgedQuery
from product_search.evaluation.measures import confidence, ranking
from product_search.evaluation.measures.ranking import FITS, PerQuery, compare
from product_search.evaluation.measures.showing import PAGE, Answers, Showing
from product_search.evaluation.sets.queries import TEXT_LEGS, kind_of
from product_search.search.calibration import Calibration, Curve
from product_search.settings import ROOT

MODES: dict[str, frozenset[Leg]] = {
    "hybrid": frozenset(TEXT_LEGS),
    Leg.text_to_text.value: frozenset({Leg.text_to_text}),
    Leg.text_to_image.value: frozenset({Leg.text_to_image}),
}
_BEFORE = ROOT / "docs" / "evaluation" / "before"
_EXACT_KINDS = ("sku", "code", "model")  # of which the first hit should be the very product


@dataclass(frozen=True, eq=False)
class LeftOut:
    """A catalogue, and what was fitted on others."""

    catalog: JudgedCatalog
    calibration: Calibration

    @property
    def name(self) -> str:
        """The name of the catalogue."""
        return self.catalog.name

    @cached_property
    def reported(self) -> JudgedCatalog:
        """The queries that are reported: of the sample catalogue the half that nothing saw."""
        return self.catalog.half("reported") if self.name == SAMPLE else self.catalog

    def queries(self, mode: str) -> Sequence[JudgedQuery]:
        """Return the queries as the mode reads them."""
        return self.reported.texts if mode == "hybrid" else self.reported.alone[Leg(mode)]

    def curve(self, mode: str) -> Curve:
        """Return the curve of the mode."""
        curve = self.calibration.curve(MODES[mode])
        assert curve is not None, "it was fitted on the others"
        return curve

    def answers(self, mode: str) -> Answers:
        """Return the hits of the mode's queries with their confidences."""
        return answers_of(judged_hits(self.queries(mode), self.calibration), self.curve(mode))

    def showing(self, mode: str) -> Showing:
        """Measure what the mode shows by default."""
        curve = self.curve(mode)
        return self.answers(mode).showing(curve.line, curve.share)

    @cached_property
    def ranking(self) -> dict[str, PerQuery]:
        """The ranking's measures of every query with a match, by mode."""
        return {mode: _per_query(self.queries(mode), self.calibration) for mode in MODES}


def leave_out(
    catalogs: Sequence[JudgedCatalog], ramps: Calibration, sealed: Sequence[JudgedCatalog]
) -> Iterator[LeftOut]:
    """Yield each of the catalogues, fitted on its others, and the sealed ones, on all of these."""
    for catalog in catalogs:
        yield LeftOut(catalog, fit([one for one in catalogs if one is not catalog], ramps))
    shipped = fit(catalogs, ramps) if sealed else ramps
    for catalog in sealed:
        yield LeftOut(catalog, shipped)


def lines(some: Sequence[LeftOut], folder: Path) -> Iterator[str]:
    """Yield the report; write each catalogue's values and the reliability diagram."""
    yield from ["", "## Catalogues that nothing was fitted on", ""]
    yield (
        "Each of these catalogues is measured by curves, lines and shares that were fitted on the "
        "others. Means over queries: of what is shown to queries that something fits, how much "
        f"fits (grade {FITS} or 3), and of what fits among the hits of the legs, 64 deep, how much "
        "is shown; of the queries told that there is no match, how many have none, of those for "
        "what is not sold how many are told so, and how many of those with a match."
    )
    yield from ["", *_showing_table(some)]
    yield from ["", *_before_and_after(some)]
    yield from ["", *_reliability_lines(some, folder)]
    yield from ["", *_kinds(some)]
    yield from ["", *_exact_lines(some)]
    for one in some:
        _write(one, folder)


def _showing_table(some: Sequence[LeftOut]) -> Iterator[str]:
    heads = "shown that fits | fitting that is shown | told that have none | absent told | lost"
    yield f"| mode | catalogue | queries | {heads} |"
    yield "|---" * 8 + "|"
    for mode in MODES:
        found = {one.name: one.showing(mode) for one in some}
        for one in some:
            yield _showing_row(mode, one.name, len(one.queries(mode)), found[one.name])
        means = [np.mean([vars(each)[name] for each in found.values()]) for name in _FIGURES]
        count = sum(len(one.queries(mode)) for one in some)
        yield _showing_row(mode, "mean", count, Showing(*map(float, means)))


_FIGURES = ("precision", "recall", "told_precision", "told_recall", "lost")


def _showing_row(mode: str, name: str, count: int, found: Showing) -> str:
    figures = " | ".join(f"{vars(found)[figure]:.3f}" for figure in _FIGURES)
    return f"| {mode} | {name} | {count} | {figures} |"


def _before_and_after(some: Sequence[LeftOut]) -> Iterator[str]:
    """Compare with the last commit before there were several catalogues, query by query."""
    yield "Ranking (nDCG@10, no line) against commit 8c67476, paired, with intervals of 95 %:"
    yield ""
    yield "| mode | catalogue | before | now | difference | p |"
    yield "|---" * 6 + "|"
    for mode in MODES:
        for one in some:
            before, now = _before(one.name, mode), one.ranking[mode]["ndcg@10"]
            found = compare(now, before)
            means = [float(np.mean([values[qid] for qid in now])) for values in (before, now)]
            mean, low, high = vars(found.estimate).values()
            yield (
                f"| {mode} | {one.name} | {means[0]:.3f} | {means[1]:.3f} "
                f"| {mean:+.3f} ({low:+.3f} to {high:+.3f}) | {found.p:.4f} |"
            )


def _before(name: str, mode: str) -> dict[str, float]:
    """Read each query's nDCG@10 as it was at the commit that the file names."""
    document = json.loads((_BEFORE / f"{name}.json").read_text("utf-8"))
    values: dict[str, float] = document["ndcg@10"][mode]
    return values


def _reliability_lines(some: Sequence[LeftOut], folder: Path) -> Iterator[str]:
    found = {one.name: one.answers("hybrid") for one in some}
    by_name = {name: _reliability([each]) for name, each in found.items()}
    confidence.plot(by_name, folder / "left-out-reliability.png")
    pooled = _reliability(list(found.values()))
    yield "Said confidence against the share that fits, of all hits of hybrid searches:"
    yield ""
    yield "| confidence | share that fits | hits |"
    yield "|---|---|---|"
    for each in pooled.bins:
        yield f"| {each.confidence:.2f} | {each.share:.2f} | {each.count} |"
    yield ""
    yield "![Reliability](evaluation/left-out-reliability.png)"
    yield ""
    pages = [page for one in some for page in _first_pages(one)]
    wrong = sum(bool((np.diff(page) > 0).any()) for page in pages)
    yield f"First pages out of the order of their confidence: {wrong} of {len(pages)}."


def _reliability(some: Sequence[Answers]) -> confidence.Reliability:
    confidences = np.concatenate([one.confidences for one in some])
    fits = np.concatenate([one.fits for one in some])
    return confidence.reliability(confidences.tolist(), fits.tolist())


def _first_pages(one: LeftOut) -> Iterator[np.ndarray]:
    for query in one.queries("hybrid"):
        found = query.recall(one.calibration)
        if found.confidences is not None:
            yield found.confidences[:PAGE]


def _kinds(some: Sequence[LeftOut]) -> Iterator[str]:
    """Compare hybrid's nDCG@10 by kind of query, over all catalogues that have the kind."""
    yield "Hybrid by kind of query, over these catalogues:"
    yield ""
    yield "| kind | queries | nDCG@10 before | now | told of no match |"
    yield "|---|---|---|---|---|"
    told = _told(some)
    before, now = dict[str, float](), dict[str, float]()
    for one in some:
        values = _before(one.name, "hybrid")
        for qid, value in one.ranking["hybrid"]["ndcg@10"].items():
            now[f"{one.name} {qid}"] = value
            before[f"{one.name} {qid}"] = values[qid]
    for kind in dict.fromkeys(map(_kind, told)):
        of_kind = [key for key in told if _kind(key) == kind]
        judged = [key for key in of_kind if key in now]
        cells = ["", ""]
        if judged:
            cells = [f"{np.mean([values[key] for key in judged]):.2f}" for values in (before, now)]
        count = sum(told[key] for key in of_kind)
        yield f"| {kind} | {len(of_kind)} | {' | '.join(cells)} | {count} |"


def _kind(key: str) -> str:
    return kind_of(key.partition(" ")[2])


def _told(some: Sequence[LeftOut]) -> dict[str, bool]:
    """Return which queries are told of no match, by the catalogue's name and their id."""
    found: dict[str, bool] = {}
    for one in some:
        curve, best = one.curve("hybrid"), one.answers("hybrid").best
        for query, highest in zip(one.queries("hybrid"), best, strict=True):
            found[f"{one.name} {query.qid}"] = bool(highest < curve.line) or highest == 0
    return found


def _exact_lines(some: Sequence[LeftOut]) -> Iterator[str]:
    """Count how often the first hit of a code is the product that it names."""
    for kind in _EXACT_KINDS:
        firsts = [
            _is_first(query, one.calibration)
            for one in some
            for query in one.queries("hybrid")
            if kind_of(query.qid) == kind
        ]
        yield f"The first hit is exactly what `{kind}` asks for in {sum(firsts)} of {len(firsts)}."
        yield ""


def _is_first(query: JudgedQuery, calibration: Calibration) -> bool:
    keys = query.recall(calibration).fused.milvus_ids.tolist()
    highest = max(query.grades.values(), default=0)
    return bool(keys) and query.grades.get(keys[0], 0) == highest > 0


def _per_query(queries: Sequence[JudgedQuery], calibration: Calibration) -> PerQuery:
    judged = [query for query in queries if query.grades]
    qrels = {q.qid: {str(key): grade for key, grade in q.grades.items()} for q in judged}
    found: Mapping[str, list[str]] = {
        q.qid: list(map(str, q.recall(calibration).fused.milvus_ids.tolist())) for q in judged
    }
    return ranking.per_query(qrels, found)


def _write(one: LeftOut, folder: Path) -> None:
    document = report.document(one.ranking, {"left out": one.name})
    text = json.dumps(document, ensure_ascii=False, indent=1)
    (folder / f"left-out-{one.name}.json").write_text(text + "\n", "utf-8")
