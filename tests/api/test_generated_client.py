"""A client can be generated from openapi.json: names are unique, and nothing is left out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from product_search.settings import ROOT

# The generator knows images only as files.
CONFIG = {
    "content_type_overrides": {
        "image/*": "application/octet-stream",
        "image/webp": "application/octet-stream",
    },
    "post_hooks": [],
}
SCHEMA: dict[str, Any] = json.loads((ROOT / "openapi.json").read_text("utf-8"))
OPERATIONS = [
    operation for operations in SCHEMA["paths"].values() for operation in operations.values()
]


def test_no_two_schemas_have_one_title() -> None:
    schemas = SCHEMA["components"]["schemas"].values()
    titles = Counter(schema["title"] for schema in schemas if "title" in schema)
    assert [title for title, count in titles.items() if count > 1] == []


def test_each_operation_has_an_id_that_reads_as_a_function_does() -> None:
    ids = [operation["operationId"] for operation in OPERATIONS]
    assert len(set(ids)) == len(ids)
    assert [one for one in ids if not (one.isidentifier() and one.islower())] == []
    assert {"search", "search_batch", "create_product", "health"} <= set(ids)


def test_a_client_is_generated_without_a_warning(tmp_path: Path) -> None:
    config, client = tmp_path / "config.yaml", tmp_path / "client"
    config.write_text(json.dumps(CONFIG), "utf-8")  # JSON is YAML
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning"]
    command += ["--meta", "none", "--path", str(ROOT / "openapi.json")]
    command += ["--output-path", str(client), "--config", str(config)]
    generated = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
    )
    assert generated.returncode == 0, generated.stdout + generated.stderr
    assert "WARNING" not in generated.stdout
    modules = {path.stem for path in (client / "api").rglob("*.py")} - {"__init__"}
    assert modules == {operation["operationId"] for operation in OPERATIONS}
    for path in client.rglob("*.py"):
        compile(path.read_text("utf-8"), path, "exec")
