"""The service killed with -9 in the middle of an import: started again, it counts each row once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from product_search.settings import Settings
from tests.clock import until
from tests.servers import running_api

ROWS = 1500
# With so many waiting to be indexed the first service's import pauses: it is killed in the middle.
PAUSE_AT = 400


def _file(folder: Path) -> Path:
    """Every 100th row is bad; the last two name a good row's sku and a bad row's."""
    rows = [f"S-{n},标题{n},{-1 if n % 100 == 7 else 1}\n" for n in range(ROWS - 2)]
    path = folder / "rows.csv"
    path.write_text("sku,title,price\n" + "".join([*rows, "S-0,又,1\n", "S-7,好,1\n"]), "utf-8")
    return path


BAD = sum(n % 100 == 7 for n in range(ROWS - 2)) + 1


def test_an_import_of_a_killed_service_goes_on_and_counts_every_row_once(
    open_settings: Callable[[], Settings], tmp_path: Path
) -> None:
    settings = open_settings()
    limit = {"PRODUCT_SEARCH_OUTBOX_MAX_DEPTH": str(PAUSE_AT)}
    with running_api(settings.data_dir, None, **limit) as (address, service):
        with _file(tmp_path).open("rb") as stream:
            answer = httpx.post(f"{address}/product/import", files={"file": stream}, timeout=60)
        assert answer.status_code == 202
        url = str(answer.json()["status_url"])
        until(lambda: _status(address, url)["rows_done"] >= PAUSE_AT, "the first batches")
        service.kill()
        service.join()
    assert len(list(settings.imports_dir.iterdir())) == 1

    with running_api(settings.data_dir) as (address, _):
        until(lambda: _status(address, url)["state"] == "done", "the rest of the import")
        status = _status(address, url)
        done = (status["rows_total"], status["rows_done"], status["created"], status["bad"])
        assert done == (ROWS, ROWS, ROWS - BAD, BAD)
        lines = [row["line"] for row in status["bad_rows"]]
        assert (len(lines), lines[-1]) == (BAD, ROWS)
        assert httpx.get(f"{address}/product/list").json()["total"] == ROWS - BAD
    assert list(settings.imports_dir.iterdir()) == []


def _status(address: str, url: str) -> dict[str, Any]:
    answer = httpx.get(f"{address}{url}", timeout=60)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found
