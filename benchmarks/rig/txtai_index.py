"""An index of txtai's own, made in txtai's environment from an order on the standard input."""

from __future__ import annotations

import json
import sys

from txtai import Embeddings

INSTRUCTION = "为这个句子生成表示以用于检索相关文章："


def main() -> None:
    """Index the order's titles, by product_id."""
    order = json.load(sys.stdin)
    embeddings = Embeddings(
        path=order["bge"],
        method="clspooling",
        instructions={"query": INSTRUCTION},
        content=True,
        gpu=False,
    )
    embeddings.index((key, text, None) for key, text in order["titles"])
    embeddings.save(order["index"])


if __name__ == "__main__":
    main()
