"""Run the operator's commands: `python -m product_search.manage COMMAND`; `--help` lists them."""

from __future__ import annotations

import sys

from product_search.cli.manage import main

if __name__ == "__main__":
    sys.exit(main())
