"""Confidence from scores: the curves that were fitted for a pair of encoders."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from product_search.errors import StartError

log = logging.getLogger(__name__)

FORM = 2  # of what this release fits and reads


class _Fitted(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Curve(_Fitted):
    """A logistic regression: coefficients by feature, and from which confidence on a hit fits.

    `line` is what a query's best hit must reach, `share` how much of its confidence the others
    must.
    """

    coefficients: dict[str, float]
    intercept: float
    line: float = Field(ge=0, le=1)
    share: float = Field(0.0, ge=0, le=1)

    def confidence(self, features: Mapping[str, float]) -> float:
        """Return the probability that the product fits, by the features of the curve."""
        (one,) = self.confidences({name: np.array([value]) for name, value in features.items()})
        return float(one)

    def confidences(self, features: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the probability that each of many products fits, by their features."""
        total: NDArray[np.float64] = sum(
            (weight * features[name] for name, weight in self.coefficients.items()),
            start=np.array(self.intercept),
        )
        return np.asarray(1 / (1 + np.exp(-np.clip(total, -60.0, 60.0))))

    def least(self, confidences: NDArray[np.float64]) -> float:
        """Return the confidence from which a query's hits fit, by the confidences of all."""
        best = float(confidences.max()) if len(confidences) else 0.0
        return self.share * best if best >= self.line else self.line


class Calibration(_Fitted):
    """All that was fitted for one pair of encoders.

    `ramps` has by dense leg the best score that says nothing of the query, and the one from which
    the leg counts in full; `curves` the confidence by the names of the legs; `pairs` the
    confidence that an image and a title belong together, by their cosine. `form` is raised where
    confidence is computed from other features: what was fitted before says nothing then.
    """

    form: int = 1
    fingerprint: str
    ramps: dict[str, tuple[float, float]] = Field(default_factory=dict)
    curves: dict[str, Curve] = Field(default_factory=dict)
    pairs: Curve | None = None

    def curve(self, legs: Iterable[str]) -> Curve | None:
        """Return the curve that was fitted for just these legs."""
        return self.curves.get(curve_name(legs))


def curve_name(legs: Iterable[str]) -> str:
    """Return the key in `Calibration.curves` of a curve for these legs."""
    return "+".join(sorted(legs))


def round_confidence(confidence: float | None) -> float | None:
    """Return the confidence in as many digits as responses have."""
    return None if confidence is None else round(confidence, 4)


class Calibrations:
    """The calibrations in some folders, by the fingerprint of encoders."""

    def __init__(self, *folders: Path) -> None:
        """Prepare for the folders, of which the first that has a calibration counts."""
        self._folders = folders
        self._known: dict[str, Calibration] = {}

    def find(self, fingerprint: str) -> Calibration:
        """Read the calibration from the first folder that has it; an empty one where none has.

        A file of another release's form is passed over, which a warning tells.

        Raises:
            StartError: the file can't be read, or belongs to other encoders.
        """
        for folder in self._folders:
            path = folder / f"{fingerprint}.json"
            if path.is_file():
                calibration = _read(path, fingerprint)
                if calibration.form == FORM:
                    return calibration
                log.warning("%s 是别的版本拟合的，不能用：请重新校准（make calibration）", path)
        return Calibration(fingerprint=fingerprint)

    def of(self, fingerprint: str) -> Calibration:
        """Return the calibration, read once; an empty one where its file is damaged.

        A damaged file of encoders that become active later is no reason to answer nothing.
        """
        if fingerprint not in self._known:
            self._known[fingerprint] = self._find_or_log(fingerprint)
        return self._known[fingerprint]

    def _find_or_log(self, fingerprint: str) -> Calibration:
        try:
            return self.find(fingerprint)
        except StartError as error:
            log.error("searches have no confidence: %s", error)
            return Calibration(fingerprint=fingerprint)


def _read(path: Path, fingerprint: str) -> Calibration:
    try:
        calibration = Calibration.model_validate_json(path.read_text("utf-8"))
    except (OSError, ValidationError) as error:
        raise StartError(f"校准文件 {path} 无法读取：{error}") from error
    if calibration.fingerprint != fingerprint:
        raise StartError(f"校准文件 {path} 属于另一组编码器（{calibration.fingerprint}）")
    return calibration
