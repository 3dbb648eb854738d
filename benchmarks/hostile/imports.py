"""Attacks by imports: tables that unpack to much, and a large one that people wait behind."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.hostile import files
from benchmarks.hostile.searches import found_after
from benchmarks.hostile.stand import SEED, Stand, empty_lines
from benchmarks.rig.folders import BENCH, kept
from benchmarks.rig.processes import serving

ROWS = 20_000
PAGE_MB, ROUTE_MB = 60, 2000
_LATER = 60  # imports that are asked for behind the first
_PATIENCE_S = 60.0
_FOUND_S = 240.0
_PERSONS = 3
_IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"]'


def newlines_to_the_route(stand: Stand) -> list[str]:
    """Import 2 GB of line breaks, ask for later imports, then cancel the first."""
    first = _import(stand, empty_lines(ROUTE_MB))
    small = kept("row", "1", lambda folder: files.write_rows(folder / "rows.csv", SEED, 1))
    later = [_import(stand, small / "rows.csv") for _ in range(_LATER)]
    began = time.monotonic()
    while not _is_over(stand, first) and time.monotonic() < began + _PATIENCE_S:
        time.sleep(0.5)
    seen = [f"the import after {time.monotonic() - began:.0f} s: {_state(stand, first)}"]
    answer = None if first is None else stand.ask(("DELETE", first, None))
    seen.append(f"cancelling it: {'no answer' if answer is None else answer.status_code}")
    last = next((one for one in reversed(later) if one), None)
    until = time.monotonic() + _PATIENCE_S / 3
    while not _is_over(stand, last) and time.monotonic() < until:
        time.sleep(0.5)
    return [*seen, f"the last of the later imports 20 s on: {_state(stand, last)}"]


def _import(stand: Stand, path: Path) -> str | None:
    """Ask for an import; return where its progress is told, None where it was refused."""
    with path.open("rb") as stream:
        answer = stand.attack(("POST", "/product/import", None), files={"file": stream})
    accepted = answer is not None and answer.status_code == 202
    return str(answer.json()["status_url"]) if answer is not None and accepted else None


def _status(stand: Stand, url: str | None) -> dict[str, Any]:
    answer = None if url is None else stand.ask(("GET", url, None))
    found: dict[str, Any] = answer.json() if answer is not None and answer.is_success else {}
    return found


def _state(stand: Stand, url: str | None) -> str:
    status = _status(stand, url)
    if url is None:
        return "refused"
    return str(status.get("state", "no answer"))


def _is_over(stand: Stand, url: str | None) -> bool:
    return _state(stand, url) in ("done", "failed", "cancelled", "refused")


def people_behind_rows(stand: Stand) -> list[str]:
    """Import 20,000 rows; meanwhile three people create a product each."""
    rows = kept("rows", str(ROWS), lambda folder: files.write_rows(folder / "rows.csv", SEED, ROWS))
    began = time.monotonic()
    url = _import(stand, rows / "rows.csv")
    while _status(stand, url).get("rows_done", 0) < ROWS // 20 and not stand.is_over:
        time.sleep(0.2)
    with ThreadPoolExecutor(_PERSONS) as pool:
        waits = []
        for number in range(_PERSONS):
            waits.append(pool.submit(_person, stand, f"第 {number} 位店员刚上架的双肩包"))
            time.sleep(4.0)
        seen = [wait.result() for wait in waits]
    status = _status(stand, url)
    done = f"{status.get('rows_done', 0):,} of {ROWS:,} rows after {time.monotonic() - began:.0f} s"
    return [*seen, f"imported: {done}"]


def _person(stand: Stand, title: str) -> str:
    answer = stand.create(title)
    if answer is None or not answer.is_success:
        return f"a person's product refused ({answer and answer.status_code})"
    return found_after("a person's product", stand.seconds_until_found(title, _FOUND_S), _FOUND_S)


def empty_lines_on_the_page(stand: Stand) -> list[str]:
    """Give the import page a ZIP of 60 MB of empty lines; another visitor opens the front page."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise RuntimeError("chromium is not installed")
    with _pages(stand) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        usual = min(_opened(browser, address) for _ in range(2))
        page = browser.new_page()
        page.goto(f"{address}/imports")
        page.wait_for_selector("input[type=file]", state="attached")
        with _heartbeat(address) as silences:
            page.locator("input[type=file]").set_input_files(empty_lines(PAGE_MB))
            worst = _opened(browser, address)
            while not stand.is_over:
                worst = max(worst, _opened(browser, address))
        seen = [
            f"another visitor's page opens in {usual:.1f} s, meanwhile in {worst:.1f} s at worst",
            f"the pages' server silent for {max(silences, default=0.0):.1f} s",
            f"who uploaded it reads: {_alert(page)}",
        ]
        browser.close()
    return seen


@contextmanager
def _pages(stand: Stand) -> Iterator[str]:
    """Serve the pages as `make web` does, which reads their settings where it is started."""
    command = ["sh", "-c", 'cd "$0" && exec "$@"', str(stand.checkout.root), sys.executable, "-m"]
    command += ["streamlit", "run", "web_demo.py", "--server.port=PORT"]
    environment = stand.checkout.environment(stand.data) | {"PRODUCT_SEARCH_API_URL": stand.url}
    log = BENCH / "logs" / "hostile-pages.log"
    alive = ("GET", "/_stcore/health", None)
    with serving("pages", command, environment, alive, log) as server:
        yield f"http://127.0.0.1:{server.port}"


def _opened(browser: Browser, address: str) -> float:
    """Return the seconds until a new visitor's front page is drawn."""
    began = time.monotonic()
    page = browser.new_page()
    page.goto(address, timeout=120_000)
    page.wait_for_selector(_IDLE, timeout=120_000)
    page.close()
    return time.monotonic() - began


def _alert(page: Page) -> str:
    alerts = page.locator('[data-testid="stAlert"]')
    return alerts.first.inner_text().strip() if alerts.count() else "nothing yet"


@contextmanager
def _heartbeat(address: str) -> Iterator[list[float]]:
    """Ask the pages' server for a sign of life again and again; keep how long each took."""
    took: list[float] = []
    is_over = threading.Event()

    def beat() -> None:
        while not is_over.wait(0.2):
            began = time.monotonic()
            try:
                httpx.get(f"{address}/_stcore/health", timeout=120)
            except httpx.TransportError:
                continue
            took.append(time.monotonic() - began)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield took
    finally:
        is_over.set()
        thread.join()
