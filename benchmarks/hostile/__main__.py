"""What hostile loads do to searches and memory, a table: `make hostile`.

python -m benchmarks.hostile [--rows NAME,NAME] [--before COMMIT]

Each row starts a service of its own, measures a plain search alone and then under the load, and
tells what the hostile requests and other people were answered. With --before all is measured of
an earlier commit too. Writes docs/hostile.json and docs/hostile.md; rows that were not measured
now stay as they are.
"""

from __future__ import annotations

import argparse
import subprocess
from typing import Any

from benchmarks.hostile import connections, imports, report, searches, stores
from benchmarks.hostile.stand import Row, measure, tell
from benchmarks.rig import machine
from benchmarks.rig.catalogue import Checkout, earlier
from benchmarks.rig.folders import say

ROWS = (
    Row(
        "slow-jpegs",
        "two progressive JPEGs with 4,000 empty scans, and 45 usual pictures",
        searches.slow_jpegs,
        30.0,
    ),
    Row(
        "slow-product",
        "the same JPEG as a product's picture",
        searches.slow_product,
    ),
    Row("large-tiffs", "40 searches by a TIFF of 40 megapixels", searches.large_tiffs),
    Row("picture-batches", "20 batches of 64 pictures", searches.batches_of_pictures, 30.0),
    Row("text-batches", "8 batches of 64 rich texts", searches.batches_of_texts, 30.0),
    Row(
        "import-page",
        "a ZIP of 60 MB of empty lines on the import page",
        imports.empty_lines_on_the_page,
        45.0,
    ),
    Row(
        "import-newlines",
        "a ZIP of 2 GB of line breaks to the import route",
        imports.newlines_to_the_route,
        30.0,
    ),
    Row(
        "import-rows",
        f"an import of {imports.ROWS:,} rows, a fifth of 100,000",
        imports.people_behind_rows,
        30.0,
    ),
    Row(
        "slow-clients",
        "200 silent or slow connections, 40 unfinished bodies, SIGTERM",
        connections.slow_clients,
        45.0,
    ),
    Row("full-disk", "a full disk", stores.full_disk, 15.0, stores.on_a_small_disk),
    Row(
        "clock-back",
        "the clock set back by an hour",
        stores.clock_set_back,
        15.0,
        stores.on_a_clock,
    ),
    Row("milvus-gone", "Milvus's files removed while it runs", stores.milvus_files_gone, 15.0),
)


def measured(row: Row, state: str, checkout: Checkout, commit: str) -> list[dict[str, Any]]:
    """Return the row's figures; none where it can't be measured here, which is told."""
    say(f"{row.name}, {state} …")
    try:
        entry = measure(row, checkout) | {"state": state, "commit": commit}
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        say(f"  not measured: {error}")
        return []
    tell(entry)
    return [entry]


def main() -> None:
    """Measure the rows, and write the documents after each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", default=",".join(row.name for row in ROWS))
    parser.add_argument("--before", help="a commit whose state is measured too")
    options = parser.parse_args()
    states = [("after", Checkout(), "")]
    if options.before:
        states.insert(0, ("before", earlier(options.before), options.before))
    names = [row.name for row in ROWS]
    for row in [row for row in ROWS if row.name in options.rows.split(",")]:
        for state, checkout, commit in states:
            entries = measured(row, state, checkout, commit)
            report.write(report.merged(entries, machine.describe()), names)


if __name__ == "__main__":
    main()
