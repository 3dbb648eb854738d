"""TREC's formats, measures against hand-made figures, the gate, the commands."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path

import pytest

from product_search.errors import StartError
from product_search.evaluation import report
from product_search.evaluation.measures import ranking
from product_search.evaluation.sets import trec

QRELS = {"plain-01": {"A": 3, "B": 2, "C": 1}, "plain-02": {"D": 3}}
MANY = {f"plain-{number:02}": {"A": 3} for number in range(1, 31)}
BEST = {qid: ["A", "B"] for qid in MANY}
WORSE = {qid: ["B", "A"] for qid in MANY}


def test_queries_and_judgements_are_read(tmp_path: Path) -> None:
    queries, qrels = tmp_path / "queries.tsv", tmp_path / "qrels.txt"
    queries.write_text("plain-01\t红色 双肩包\n\nplain-02\t雨伞\n", "utf-8")
    qrels.write_text("plain-01 0 A 3\nplain-01 0 B 1\n", "utf-8")
    assert trec.read_texts(queries) == {"plain-01": "红色 双肩包", "plain-02": "雨伞"}
    assert trec.read_qrels(qrels) == {"plain-01": {"A": 3, "B": 1}}


@pytest.mark.parametrize("line", ["plain-01", "plain-01\t ", "\t雨伞", "a\t伞\na\t雨伞"])
def test_queries_in_another_form_are_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "queries.tsv"
    file.write_text(line, "utf-8")
    with pytest.raises(StartError, match=r"queries\.tsv"):
        trec.read_texts(file)


@pytest.mark.parametrize("line", ["plain-01 0 A", "plain-01 0 A 3 x", "plain-01 0 A -1"])
def test_judgements_in_another_form_are_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "qrels.txt"
    file.write_text(line, "utf-8")
    with pytest.raises(StartError, match=r"qrels\.txt"):
        trec.read_qrels(file)


def test_measures_are_those_of_the_ranking() -> None:
    """Recall and the first hit count grades from 2 on; ndcg counts the grades themselves."""
    found = ranking.per_query(QRELS, {"plain-01": ["C", "A", "X", "B"]})
    ideal = 3 + 2 / math.log2(3) + 1 / math.log2(4)
    gained = 1 + 3 / math.log2(3) + 2 / math.log2(5)
    assert found["recall@1"] == {"plain-01": 0, "plain-02": 0}
    assert found["recall@5"] == {"plain-01": 1, "plain-02": 0}
    assert found["mrr@10"] == {"plain-01": 0.5, "plain-02": 0}
    assert found["ndcg@10"]["plain-01"] == pytest.approx(gained / ideal)
    assert found["ndcg@10"]["plain-02"] == 0


def test_an_interval_holds_its_mean_and_is_as_wide_as_the_values_differ() -> None:
    some = ranking.estimate([0.0, 1.0] * 20)
    assert some.low < some.mean == 0.5 < some.high
    same = ranking.estimate([0.7] * 5)
    assert (same.low, same.mean, same.high) == (0.7, 0.7, 0.7)


def test_a_difference_is_significant_only_where_it_is_one() -> None:
    better = ranking.per_query(MANY, BEST)["mrr@10"]
    worse = ranking.per_query(MANY, WORSE)["mrr@10"]
    lost = ranking.compare(worse, better)
    assert lost.estimate.mean == lost.estimate.high == -0.5
    assert lost.p < 0.01
    same = ranking.compare(better, better)
    assert (same.estimate.mean, same.p) == (0, 1)
    one = next(iter(MANY))
    hardly = ranking.compare(better | {one: 0.0}, better)
    assert hardly.estimate.low < hardly.estimate.mean < 0
    assert hardly.p > 0.05


def test_the_gate_tells_what_became_worse_and_nothing_else(tmp_path: Path) -> None:
    best = {"text_to_text": ranking.per_query(MANY, BEST)}
    worse = {"text_to_text": ranking.per_query(MANY, WORSE)}
    baseline = tmp_path / "baseline.json"
    baseline.write_text(json.dumps(report.document(best, {"encoder": "x"})), "utf-8")
    assert list(report.losses(best, baseline)) == []
    lost = list(report.losses(worse, baseline))
    assert [line.split("：")[0].split()[1] for line in lost] == ["recall@1", "ndcg@10", "mrr@10"]
    with pytest.raises(StartError):
        list(report.losses({"image_to_text": worse["text_to_text"]}, baseline))


def test_the_table_and_the_plot_name_every_mode(tmp_path: Path) -> None:
    results = {"text_to_text": ranking.per_query(MANY, BEST)}
    assert "| text_to_text | 1.000 (1.000–1.000)" in "\n".join(report.table(results))
    report.plot(results, tmp_path / "plot.svg")
    assert "text_to_text" in (tmp_path / "plot.svg").read_text("utf-8")


@pytest.mark.parametrize("name", ["__main__", "audit", "calibrate", "duplicates", "full", "titles"])
def test_every_command_explains_itself(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"product_search.evaluation.{name}")
    monkeypatch.setattr("sys.argv", ["evaluation", "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: python -m product_search.evaluation")
