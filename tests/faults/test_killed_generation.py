"""The service killed with -9 while it generates: that has failed, and the next one is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from product_search.settings import Settings
from tests.clock import until
from tests.generation import write_pipeline
from tests.servers import running_api

LONG = {"prompt": "红色双肩包", "steps": 100, "n": 4, "width": 1024, "height": 1024}
SHORT = {"prompt": "雨伞", "steps": 1, "width": 256, "height": 256}


def test_a_generation_of_a_killed_service_has_failed_and_the_next_is_made(
    open_settings: Callable[[], Settings], tmp_path: Path
) -> None:
    settings = open_settings()
    model = {"PRODUCT_SEARCH_GENERATION_DIR": str(write_pipeline(tmp_path))}
    with running_api(settings.data_dir, None, **model) as (address, service):
        killed, waits = _asked(address, LONG), _asked(address, SHORT)
        until(lambda: _found(address, killed)["preview_url"], "a preview")
        service.kill()
        service.join()
    assert list(settings.previews_dir.iterdir())

    with running_api(settings.data_dir, None, **model) as (address, _):
        until(lambda: _found(address, waits)["state"] == "done", "the one that waited")
        found = _found(address, killed)
        assert (found["state"], found["pictures"], found["preview_url"]) == ("failed", [], None)
        assert "中断" in found["error"]
        assert 0 < found["step"] < found["steps"]
    assert list(settings.previews_dir.iterdir()) == []


def _asked(address: str, wanted: dict[str, Any]) -> str:
    answer = httpx.post(f"{address}/generate", json=wanted, timeout=60)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["status_url"])


def _found(address: str, url: str) -> dict[str, Any]:
    answer = httpx.get(f"{address}{url}", timeout=60)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found
