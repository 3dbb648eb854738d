"""Seconds from starting the service to its first search answer, and to each after it.

python -m benchmarks.first_answer DATA_FOLDER   (filled: PRODUCT_SEARCH_DATA_DIR of an earlier run)
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

import httpx

PORT = 8765
ROUNDS = 3
QUERY = {"mode": "text_to_image", "text": "红色双肩包"}


def _start(data: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "fastapi", "run", "main.py", f"--port={PORT}"]
    environment = os.environ | {"PRODUCT_SEARCH_DATA_DIR": data}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def _answer(client: httpx.Client) -> int:
    """Wait for the first answer, and return how many products it names."""
    while True:
        try:
            return len(client.post("/search", json=QUERY).raise_for_status().json()["hits"])
        except httpx.ConnectError:
            time.sleep(0.05)


def main() -> None:
    """Start a service in each round, and time its first answers."""
    first, later = [], []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        service = _start(sys.argv[1])
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=60) as client:
                found = _answer(client)
                first.append(time.perf_counter() - begun)
                begun = time.perf_counter()
                _answer(client)
                later.append(time.perf_counter() - begun)
        finally:
            service.terminate()
            service.wait()
        sys.stdout.write(f"first answer ({found} products) after {first[-1]:.1f} s\n")
    sys.stdout.write(f"first answers: {statistics.median(first):.1f} s at the median, ")
    sys.stdout.write(f"then {1000 * statistics.median(later):.0f} ms\n")


if __name__ == "__main__":
    main()
