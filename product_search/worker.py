"""Run an indexing worker: `python -m product_search.worker`."""

from __future__ import annotations

import sys

from product_search.cli.worker import main

if __name__ == "__main__":
    sys.exit(main())
