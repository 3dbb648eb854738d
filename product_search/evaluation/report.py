"""Results of an evaluation: a table, a JSON document, a plot, a gate against earlier results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from product_search.errors import StartError
from product_search.evaluation.measures.ranking import (
    MEASURES,
    Estimate,
    PerQuery,
    compare,
    estimate,
)

SIGNIFICANT = 0.05
Results = Mapping[str, PerQuery]  # by mode


def estimates(results: Results) -> dict[str, dict[str, Estimate]]:
    """Estimate the mean of each measure, by mode and measure."""
    return {
        mode: {name: estimate(list(found[name].values())) for name in MEASURES}
        for mode, found in results.items()
    }


def table(results: Results) -> Iterator[str]:
    """Yield the lines of a Markdown table of means with their intervals."""
    yield "| mode | " + " | ".join(MEASURES) + " |"
    yield "|---" * (1 + len(MEASURES)) + "|"
    for mode, found in estimates(results).items():
        cells = (f"{each.mean:.3f} ({each.low:.3f}–{each.high:.3f})" for each in found.values())
        yield f"| {mode} | " + " | ".join(cells) + " |"


def comparisons(results: Results, pairs: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a line for each pair of modes: the first less the second in ndcg@10.

    Raises:
        StartError: a mode has no results.
    """
    for first, second in pairs:
        if not {first, second} <= results.keys():
            raise StartError(f"--compare {first} {second}：请在 --modes 里列出这两种")
        difference = compare(results[first]["ndcg@10"], results[second]["ndcg@10"])
        mean, low, high = (
            difference.estimate.mean,
            difference.estimate.low,
            difference.estimate.high,
        )
        yield (
            f"{first} - {second}, ndcg@10: {mean:+.3f} ({low:+.3f} to {high:+.3f}), "
            f"p = {difference.p:.4f}"
        )


def document(results: Results, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return all estimates and values as JSON, for a later gate."""
    means = {
        mode: {name: vars(each) for name, each in found.items()}
        for mode, found in estimates(results).items()
    }
    return {**about, "estimates": means, "per_query": results}


def losses(results: Results, baseline: Path) -> Iterator[str]:
    """Yield where these results are significantly worse than those of an earlier document.

    Raises:
        StartError: the document can't be read, or has no mode of these results.
    """
    try:
        before: Results = json.loads(baseline.read_text("utf-8"))["per_query"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StartError(f"读不了 {baseline}：{error}") from error
    shared = [mode for mode in results if mode in before]
    if not shared:
        raise StartError(f"{baseline} 里没有同样的检索方式：{'、'.join(before)}")
    for mode in shared:
        for name in MEASURES:
            difference = compare(results[mode][name], before[mode][name])
            mean, p = difference.estimate.mean, difference.p
            if mean < 0 and p < SIGNIFICANT:
                yield f"{mode} {name}：{mean:+.3f}（p = {p:.4f}）"


def plot(results: Results, path: Path) -> None:
    """Draw means with their intervals, a group of bars for each measure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    found = estimates(results)
    width = 0.8 / len(found)
    for place, (mode, by_name) in enumerate(found.items()):
        means = [each.mean for each in by_name.values()]
        below = [each.mean - each.low for each in by_name.values()]
        above = [each.high - each.mean for each in by_name.values()]
        at = [group + place * width for group in range(len(means))]
        axes.bar(at, means, width, yerr=[below, above], label=mode, capsize=2)
    axes.set_xticks([group + 0.4 - width / 2 for group in range(len(MEASURES))], list(MEASURES))
    axes.set_ylim(0, 1)
    axes.legend()
    figure.savefig(path)
