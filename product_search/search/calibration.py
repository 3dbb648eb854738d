"""From raw scores to confidence: what was fitted for one pair of encoders, by its fingerprint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from product_search.errors import StartError


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Curve(_Part):
    """A logistic regression: features by name, and the line below which is no match."""

    coefficients: dict[str, float]
    intercept: float
    line: float = Field(ge=0, le=1)

    def confidence(self, features: Mapping[str, float]) -> float:
        """The probability that the product fits, of the features that the curve was fitted on."""
        terms = [weight * features[name] for name, weight in self.coefficients.items()]
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, math.fsum([self.intercept, *terms])))))


class Calibration(_Part):
    """All that was fitted for one pair of encoders.

    `ramps` are a dense leg's best score from which it knows nothing and from which it counts in
    full, `curves` the confidence by a mode's features, `pairs` that an image and a title belong
    together, by their cosine.
    """

    fingerprint: str
    ramps: dict[str, tuple[float, float]] = Field(default_factory=dict)
    curves: dict[str, Curve] = Field(default_factory=dict)
    pairs: Curve | None = None

    def curve(self, features: frozenset[str]) -> Curve | None:
        """The one that was fitted on just these features."""
        return self.curves.get(curve_name(features))


def curve_name(features: frozenset[str]) -> str:
    """A curve is known by what it was fitted on."""
    return "+".join(sorted(features))


def find(fingerprint: str, *folders: Path) -> Calibration:
    """Of the first folder that has it; without curves where none has.

    Raises StartError where the file can't be read, or is another pair's.
    """
    for folder in folders:
        path = folder / f"{fingerprint}.json"
        if path.is_file():
            return _read(path, fingerprint)
    return Calibration(fingerprint=fingerprint)


def _read(path: Path, fingerprint: str) -> Calibration:
    try:
        found = Calibration.model_validate_json(path.read_text("utf-8"))
    except (OSError, ValidationError) as error:
        raise StartError(f"校准文件 {path} 无法读取：{error}") from error
    if found.fingerprint != fingerprint:
        raise StartError(f"校准文件 {path} 属于另一组编码器（{found.fingerprint}）")
    return found
