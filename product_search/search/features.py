"""Features of hits: what confidence is computed from, in columns with a place for each entity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial

import numpy as np

from data_models import Leg
from product_search.milvus.hits import Hits
from product_search.search.calibration import Calibration
from product_search.search.fusion import Floats, Keys, ramp
from product_search.search.inputs import Weighted
from product_search.search.plan import Plan
from product_search.text.query import QueryText

COVERAGE = "coverage"
AGREEMENT = "agreement"  # the fused score, all that counts where pictures and texts are mixed
# Most that covers half of a query does not fit, and what covers all of it and is near does.
_COVERAGE_SQUARED = "coverage_squared"
_COVERED_MEANING = "covered_meaning"
# How far above its ramp, in lengths of it, a score still says how much words are needed: of Nova 14
# and 15, both as near as can be, the one whose words are all there is meant.
_BEYOND = 0.5
_HAS_TERMS = "has_terms"  # 1 where BM25 found the entity
# Where the product that is nearest by its meaning has the query's words, the others need them too.
_NEAREST_COVERAGE = "nearest_coverage"


def find_features(
    plan: Plan,
    hits: Mapping[Leg, Hits],
    matches: Mapping[int, frozenset[str]],
    keys: Keys,
    calibration: Calibration,
) -> dict[str, Floats]:
    """Return the features of the entities with these keys, which are sorted.

    Where a leg did not find an entity, its score is the lowest that the leg found.
    """
    scores = {leg: _scores(of_leg, keys) for leg, of_leg in hits.items() if leg is not Leg.bm25}
    features = {leg.value: values for leg, values in scores.items()}
    if len(hits) == 1:
        features |= {f"best_{leg}": _everywhere(_best(hits[leg]), keys) for leg in scores}
    elif Leg.text_to_image in scores:
        features |= _of_pictures(hits[Leg.text_to_image], scores[Leg.text_to_image], calibration)
    if Leg.bm25 in hits:
        # Many products match the same of the query's terms.
        coverage = cache(partial(_coverage, plan.inputs.texts))
        covered = np.array([coverage(matches[key]) for key in keys.tolist()], np.float64)
        features |= {COVERAGE: covered, _COVERAGE_SQUARED: covered**2}
        if Leg.text_to_text in scores:
            has_terms = np.zeros(len(keys))
            has_terms[np.searchsorted(keys, hits[Leg.bm25].milvus_ids)] = 1.0
            of_meanings = _of_meanings(covered, scores[Leg.text_to_text], calibration)
            features |= {_HAS_TERMS: has_terms, **of_meanings}
    return features


def _scores(of_leg: Hits, keys: Keys) -> Floats:
    values = np.full(len(keys), of_leg.scores.min() if len(of_leg) else 0.0)
    values[np.searchsorted(keys, of_leg.milvus_ids)] = of_leg.scores
    return values


def _best(of_leg: Hits) -> float:
    return float(of_leg.scores.max()) if len(of_leg) else 0.0


def _everywhere(value: float, keys: Keys | Floats) -> Floats:
    return np.full(len(keys), value)


def _of_pictures(of_leg: Hits, scores: Floats, calibration: Calibration) -> dict[str, Floats]:
    """Return what pictures say, and how far the query is one that pictures know.

    What lies below or above the ends of the leg's ramp says no more than these: shops have few
    pictures or many.
    """
    name = Leg.text_to_image.value
    ends = calibration.ramps.get(name)
    if ends is None:
        return {}
    known = ramp(_best(of_leg), *ends, floor=0.0)
    return {name: np.clip(scores, *ends), f"known_{name}": _everywhere(known, scores)}


def _of_meanings(covered: Floats, scores: Floats, calibration: Calibration) -> dict[str, Floats]:
    nearest = float(covered[np.argmax(scores)]) if len(scores) else 0.0
    low, high = calibration.ramps.get(Leg.text_to_text.value, (1.0, 1.0))
    enough = high + _BEYOND * (high - low)
    return {
        _COVERED_MEANING: np.minimum(scores, enough) * covered**2,
        _NEAREST_COVERAGE: _everywhere(nearest, scores),
        f"best_{Leg.text_to_text}": _everywhere(scores.max(initial=0.0), scores),
    }


def _coverage(texts: Sequence[Weighted[QueryText]], terms: frozenset[str]) -> float:
    """Return the mean coverage of the wanted texts, by their weights."""
    wanted = [text for text in texts if text.weight > 0]
    covered = sum(text.weight * text.value.coverage(terms) for text in wanted)
    return covered / sum(text.weight for text in wanted)
