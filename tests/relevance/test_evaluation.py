"""The evaluation by its command: the sample catalog, its queries, the real retrieval."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from product_search.evaluation.__main__ import main
from product_search.settings import ROOT

SETS = ROOT / "tests" / "relevance" / "catalog"


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """The judgements of twenty queries."""
    lines = (SETS / "qrels.txt").read_text("utf-8").splitlines()
    chosen = [line for line in lines if line.startswith("plain-")]
    (tmp_path / "qrels.txt").write_text("\n".join(chosen), "utf-8")
    return tmp_path / "qrels.txt"


def test_the_command_measures_the_catalog_of_a_file(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRODUCT_SEARCH_DEVICE", "cpu")
    given = ["--queries", str(SETS / "queries.tsv"), "--qrels", str(few)]
    given += ["--catalogue", str(ROOT / "sample_data" / "catalog.csv"), "--half", "tuning"]
    monkeypatch.setattr("sys.argv", ["evaluation", *given, "--json", "out.json"])
    assert main() == 0
    assert "text_to_image" in capsys.readouterr().out
    found = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert found["queries"] == 12
    assert found["estimates"]["text_to_text"]["recall@10"]["mean"] > 0.8
    monkeypatch.setattr("sys.argv", ["evaluation", *given, "--gate", "out.json"])
    assert main() == 0
    assert not (tmp_path / "data").exists()
