"""The comparison of text runtimes: what the export computes, and the table of ratios."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.text_runtimes import agreement, by_dynamic_int8, export, padded, table
from product_search.encoders.tokens import Tokens
from product_search.encoders.torch_bert import TorchBert
from tests.unit.checkpoints import write_bge

TOKENS: list[Tokens] = [np.array(one, np.int64) for one in ([2, 7, 3], [2, 8, 9, 10, 3], [2, 3])]


def test_short_texts_are_padded_and_masked() -> None:
    inputs = padded(TOKENS)
    assert inputs["input_ids"].tolist() == [[2, 7, 3, 0, 0], [2, 8, 9, 10, 3], [2, 3, 0, 0, 0]]
    assert inputs["attention_mask"].sum(axis=1).tolist() == [3, 5, 2]


def test_the_exported_network_is_the_one_of_pytorch(tmp_path: Path) -> None:
    folder = write_bge(tmp_path / "bge")
    export(folder, tmp_path / "bge.onnx")
    ways = {"torch": TorchBert(folder, "cpu").embed, "int8": by_dynamic_int8(tmp_path / "bge.onnx")}
    found = agreement(ways, TOKENS)
    assert found["torch"]["least"] > 0.99999
    assert found["int8"]["least"] > 0.9


def test_rates_are_ratios_to_the_first_runtime() -> None:
    same = {"mean": 1.0, "least": 1.0, "alone": 1.0}
    speeds = {"torch": {1: 10.0, 8: 20.0, 32: 40.0}, "other": {1: 25.0, 8: 30.0, 32: 20.0}}
    *_, first, second = table(speeds, {"torch": same, "other": same})
    assert first.startswith("| torch | 10/s | 20/s | 40/s | 1.0000")
    assert second.startswith("| other | x 2.50 | x 1.50 | x 0.50 |")
