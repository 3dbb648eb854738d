"""Swapped images planted in a part of the sample catalog come first in an audit."""

from __future__ import annotations

import random

from product_search.bootstrap.encoders import EncoderLoader
from product_search.evaluation.audit import encode, kinds_of, measure, plant
from product_search.evaluation.sets.listings import sample_listings
from product_search.settings import ROOT, Settings


def test_planted_disagreements_come_first_and_sooner_than_by_the_cosine() -> None:
    encoders = EncoderLoader(Settings(_env_file=None, encoder="starter")).load_chosen()
    listings = sample_listings(ROOT / "sample_data" / "catalog.csv")[::3]
    pairs, kinds = encode(listings, encoders), kinds_of(listings)
    _, is_wrong = plant(pairs, kinds, random.Random(1))
    assert 7 <= is_wrong.sum() <= 9
    figures = measure(pairs, kinds, None, rounds=10)
    assert figures.by_relative_score.average_precision >= 0.85
    assert figures.by_relative_score.average_precision > figures.by_cosine.average_precision
