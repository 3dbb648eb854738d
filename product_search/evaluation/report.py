"""What an evaluation found: a table, a JSON document, a plot, and a gate against an earlier one."""

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
    """By mode and measure."""
    return {
        mode: {name: estimate(list(found[name].values())) for name in MEASURES}
        for mode, found in results.items()
    }


def table(results: Results) -> Iterator[str]:
    """Lines of a Markdown table, means with their intervals."""
    yield "| mode | " + " | ".join(MEASURES) + " |"
    yield "|---" * (1 + len(MEASURES)) + "|"
    for mode, found in estimates(results).items():
        cells = (f"{one.mean:.3f} ({one.low:.3f}–{one.high:.3f})" for one in found.values())
        yield f"| {mode} | " + " | ".join(cells) + " |"


def comparisons(results: Results, pairs: Iterable[Sequence[str]]) -> Iterator[str]:
    """A line for each pair: the first less the second in ndcg@10. Raises StartError."""
    for first, second in pairs:
        if not {first, second} <= results.keys():
            raise StartError(f"--compare {first} {second}：请在 --modes 里列出这两种")
        found = compare(results[first]["ndcg@10"], results[second]["ndcg@10"])
        one = found.estimate
        yield (
            f"{first} - {second}, ndcg@10: {one.mean:+.3f} ({one.low:+.3f} to {one.high:+.3f}), "
            f"p = {found.p:.4f}"
        )


def document(results: Results, about: Mapping[str, Any]) -> dict[str, Any]:
    """All of it, for machines and for a later gate."""
    means = {
        mode: {name: vars(one) for name, one in found.items()}
        for mode, found in estimates(results).items()
    }
    return {**about, "estimates": means, "per_query": results}


def losses(results: Results, baseline: Path) -> Iterator[str]:
    """Where these results are significantly worse than an earlier document's.

    Raises StartError where it can't be read or shares no mode and query with these.
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
            found = compare(results[mode][name], before[mode][name])
            if found.estimate.mean < 0 and found.p < SIGNIFICANT:
                yield f"{mode} {name}：{found.estimate.mean:+.3f}（p = {found.p:.4f}）"


def plot(results: Results, path: Path) -> None:
    """Means with their intervals, a group of bars for each measure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    found = estimates(results)
    width = 0.8 / len(found)
    for place, (mode, by_name) in enumerate(found.items()):
        ones = list(by_name.values())
        means = [one.mean for one in ones]
        errors = [[o.mean - o.low for o in ones], [o.high - o.mean for o in ones]]
        at = [group + place * width for group in range(len(ones))]
        axes.bar(at, means, width, yerr=errors, label=mode, capsize=2)
    axes.set_xticks([group + 0.4 - width / 2 for group in range(len(MEASURES))], list(MEASURES))
    axes.set_ylim(0, 1)
    axes.legend()
    figure.savefig(path)
