"""No library reports to its publisher what is done here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from product_search.settings import ROOT


def test_onnx_runtime_keeps_nothing_to_report(tmp_path: Path) -> None:
    # As soon as it is imported it would keep a device's id and a queue of events in the home.
    subprocess.run(
        [sys.executable, "-c", "import product_search.encoders.starter"],
        cwd=ROOT,
        env={"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert list(tmp_path.rglob("*")) == []
