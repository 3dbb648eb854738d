"""How long after Enter the search page has drawn its results, beside the API's own time.

python -m benchmarks.page_time [--page http://127.0.0.1:6006] [--api http://127.0.0.1:8000]

Over a running `make demo`, in a real browser (chromium): each query is typed and Enter pressed; the
clock stops at the first frame after the cards of that query are in the page. By turns the same
request goes straight to the API. The medians, the middle halves and what the page adds are printed.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import time
from collections.abc import Sequence

import httpx
from playwright.sync_api import Page, sync_playwright

ROUNDS = 5
QUERIES = ("双肩包", "雨伞", "蓝牙耳机", "苹果", "沙发", "运动鞋", "拉杆箱", "手表")
# As the page asks, so that both do the same work.
REQUEST = {"top_k": 10, "offset": 0, "sort": "relevance", "facets": True, "explain": True}
# Counts from the key to the frame in which other cards than before are drawn.
WATCH = """() => {
  const cards = () => [...document.querySelectorAll("[role=article]")].map((one) => one.innerText);
  const before = cards().join();
  window.drawn = new Promise((resolve) => {
    addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      const start = performance.now();
      const look = () => {
        const now = cards().join();
        const stale = document.querySelector("[data-stale=true] [role=article]");
        if (now && now !== before && !stale) resolve(performance.now() - start);
        else requestAnimationFrame(look);
      };
      look();
    }, { once: true, capture: true });
  });
}"""


def main() -> int:
    """Return 0; 2 where there is no browser."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page_time")
    parser.add_argument("--page", default="http://127.0.0.1:6006")
    parser.add_argument("--api", default="http://127.0.0.1:8000")
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.stderr.write("chromium is not installed\n")
        return 2
    with sync_playwright() as playwright, httpx.Client(base_url=options.api, timeout=60) as api:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(options.page)
        of_page, of_api = _measured(page, api)
        browser.close()
    _report("API", of_api)
    _report("page", of_page)
    added = [one - other for one, other in zip(of_page, of_api, strict=True)]
    _report("page - API", added)
    return 0


def _measured(page: Page, api: httpx.Client) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each query by page and by API, without the first round."""
    of_page, of_api = [], []
    for turn in range(ROUNDS + 1):
        for words in QUERIES:
            start = time.perf_counter()
            api.post("/search", json=REQUEST | {"text": words}).raise_for_status()
            by_api = 1000 * (time.perf_counter() - start)
            by_page = _typed(page, words)
            if turn:
                of_api.append(by_api)
                of_page.append(by_page)
    return of_page, of_api


def _typed(page: Page, words: str) -> float:
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')
    page.evaluate(WATCH)
    box = page.get_by_label("搜索词")
    box.fill(words)
    box.press("Enter")
    took: float = page.evaluate("() => window.drawn")
    return took


def _report(name: str, values: Sequence[float]) -> None:
    low, middle, high = statistics.quantiles(values, n=4)
    sys.stdout.write(f"{name:>10}: median {middle:.0f} ms, middle half {low:.0f} to {high:.0f}\n")


if __name__ == "__main__":
    sys.exit(main())
