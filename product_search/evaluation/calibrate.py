"""`python -m product_search.evaluation.calibrate`: confidence, fitted over several catalogues."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sklearn.linear_model import LogisticRegression

from data_models import Leg
from product_search.evaluation import command, searches
from product_search.evaluation.catalogs import (
    CATALOG,
    SAMPLE,
    JudgedCatalog,
    read_sample,
    read_shop,
)
from product_search.evaluation.fitting import fit_curve, fit_ramp, judged_hits
from product_search.evaluation.judged import JudgedQuery
from product_search.evaluation.measures import pairs
from product_search.evaluation.sets.shops import SHOPS
from product_search.search.calibration import FORM, Calibration, Curve, curve_name
from product_search.settings import Settings, load_settings


def main() -> int:
    """Return 0; 2 after an error, whose reason is logged."""
    return command.run("evaluation.calibrate", _add_arguments, _calibrate)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--photos", type=Path, default=Path(), help="shared/… 的图片所在的文件夹")
    parser.add_argument("--out", type=Path, help="写到这个文件夹（默认：数据文件夹里）")


def _calibrate(options: argparse.Namespace) -> int:
    settings = load_settings()
    catalogs = list(read_catalogs(settings, options.photos))
    calibration = fit(catalogs, fit_ramps(catalogs[0]))
    folder = options.out or settings.calibrations_dir
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{calibration.fingerprint}.json"
    path.write_text(calibration.model_dump_json(indent=1) + "\n", "utf-8")
    sys.stdout.write(f"{path}\n")
    return 0


def read_catalogs(settings: Settings, photos: Path) -> Iterator[JudgedCatalog]:
    """Yield the catalogues that are fitted on: the sample catalogue, then the shops."""
    with searches.open_catalog(settings, CATALOG) as resources:
        yield read_sample(resources, photos)
    for name in SHOPS:
        yield read_shop(settings, name)


def fit_ramps(sample: JudgedCatalog) -> Calibration:
    """Fit the legs' ramps on the sample catalogue's tuning half: all of its products have pictures.

    Where few have, the best score of a query says little of what pictures know.
    """
    half = sample.half("tuning")
    of_legs = {
        Leg.text_to_text: half.texts,
        Leg.text_to_image: half.texts,
        Leg.image_to_image: half.alone[Leg.image_to_image],
    }
    ramps = {leg.value: fit_ramp(leg, some) for leg, some in of_legs.items()}
    return Calibration(form=FORM, fingerprint=sample.fingerprint, ramps=ramps)


def fit(catalogs: Sequence[JudgedCatalog], ramps: Calibration) -> Calibration:
    """Fit a curve for each choice of legs, over all of these catalogues.

    Of the sample catalogue the tuning halves count, since the others are reported.
    """
    some = [one.half("tuning") if one.name == SAMPLE else one for one in catalogs]
    by_legs = defaultdict[frozenset[Leg], list[JudgedQuery]](list)
    for catalog in some:
        for legs, of_legs in catalog.by_legs():
            by_legs[legs] += of_legs
    curves = {
        curve_name(legs): fit_curve(judged_hits(of_legs, ramps))
        for legs, of_legs in by_legs.items()
    }
    known_pairs = [pair for catalog in some for pair in catalog.pairs[:1]]
    return ramps.model_copy(
        update={
            "curves": dict(sorted(curves.items())),
            "pairs": _fit_pair_curve(known_pairs[0]) if known_pairs else None,
        }
    )


def _fit_pair_curve(samples: Iterable[pairs.Pair]) -> Curve:
    """Fit the curve of pairs; half of them belong together, so its line is one half."""
    some = list(samples)
    model = LogisticRegression(C=1000.0).fit(
        [[pair.score] for pair in some], [pair.belongs for pair in some]
    )
    return Curve(
        coefficients={Leg.image_to_text.value: round(float(model.coef_[0][0]), 6)},
        intercept=round(float(model.intercept_[0]), 6),
        line=0.5,
    )


if __name__ == "__main__":
    sys.exit(main())
