"""A service with the encoders that ship works without the libraries that only other models need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import nlp_models
from product_search.settings import ROOT

WORK = """
import sys
import time
from pathlib import Path

from fastapi.testclient import TestClient

from main import create_app
from product_search.settings import Settings

settings = Settings(
    _env_file=None, data_dir=Path(sys.argv[1]), encoder="starter", allowed_hosts=("testserver",)
)
photo = Path("sample_data/images/1f34e.webp").read_bytes()
with TestClient(create_app(settings)) as api:
    table = {"file": ("some.csv", "title,sku\\n蓝色帐篷,T-1\\n".encode())}
    run = api.post("/product/import", files=table).raise_for_status().json()
    while api.get(run["status_url"]).raise_for_status().json()["state"] not in ("done", "failed"):
        time.sleep(0.1)
    created = api.post(
        "/product?wait=true", data={"title": "红色双肩包"}, files={"image": photo}
    ).raise_for_status()
    titles = {
        hit["product"]["title"]
        for query in ({"text": "红色双肩包"}, {"text": "蓝色帐篷"})
        for hit in api.post("/search", json=query).raise_for_status().json()["hits"]
    }
    assert {"红色双肩包", "蓝色帐篷"} <= titles, titles
    api.post("/search", files={"image": photo}).raise_for_status()
    assert api.post("/generate", json={"prompt": "一只红色的双肩包"}).status_code == 503
print(*(name for name in ("torch", "transformers", "diffusers") if name in sys.modules))
"""


@pytest.mark.skipif(nlp_models._has_driver(), reason="PyTorch is asked what the GPU can do")
def test_neither_torch_nor_transformers_is_imported_with_the_starter(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORK, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == []
