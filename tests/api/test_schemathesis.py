"""The API keeps what openapi.json says, whatever fits it or does not: schemathesis asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx

from product_search.settings import ROOT
from tests.api.helpers import base64_of
from tests.servers import running_api
from tests.unit.pictures import encoded, noise

FOLDER = Path(__file__).parent
# Cases that are drawn; those that each operation gets by plan come on top.
EXAMPLES = int(os.environ.get("PRODUCT_SEARCH_TEST_EXAMPLES") or 500)


def stocked(url: str) -> int:
    """Make a few products to ask for; return how many operations the API has."""
    for number in range(1, 6):
        image = base64_of(encoded(noise((32, 32), number), "PNG"))
        product = {"title": f"书包 {number}", "category": "箱包", "image_base64": image}
        assert httpx.post(f"{url}/product?wait=true", json=product).status_code == 201
    paths = httpx.get(f"{url}/openapi.json").json()["paths"]
    return sum(len(operations) for operations in paths.values())


def test_every_answer_is_as_documented(tmp_path: Path) -> None:
    with running_api(tmp_path) as (url, _):
        each = max(1, EXAMPLES // stocked(url))
        command = [sys.executable, "-m", "schemathesis.cli", "--no-color"]
        command += ["--config-file", str(FOLDER / "schemathesis.toml")]
        command += ["run", f"{url}/openapi.json", f"--max-examples={each}"]
        hooks = {"SCHEMATHESIS_HOOKS": "tests.api.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
        # Its report is the test's output.
        run = subprocess.run(command, cwd=tmp_path, env=os.environ | hooks, check=False)
        assert run.returncode == 0
        assert httpx.get(f"{url}/health").json()["database"] == "ok"
