"""Near-duplicates planted among a part of the sample catalog are found, and little else is."""

from __future__ import annotations

import random

from product_search.bootstrap.encoders import EncoderLoader
from product_search.evaluation.duplicates import measure
from product_search.evaluation.sets.copies import ImageChange
from product_search.evaluation.sets.listings import sample_listings, split_halves
from product_search.settings import ROOT, Settings

PRODUCTS = 90


def test_planted_copies_are_found_and_variants_are_not() -> None:
    encoders = EncoderLoader(Settings(_env_file=None, encoder="starter")).load_chosen()
    _, reported = split_halves(
        sample_listings(ROOT / "sample_data" / "catalog.csv"), random.Random(1)
    )
    # One round: a copy of each, by one change each.
    figures = measure(reported[:PRODUCTS], encoders, tuple(ImageChange), rounds=1)
    assert figures.planted["all"] == PRODUCTS
    assert figures.precision >= 0.98
    assert figures.recall >= 0.90
