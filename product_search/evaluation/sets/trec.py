"""Query texts and judgements in TREC's formats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from product_search.errors import StartError

Qrels = dict[str, dict[str, int]]  # grades by product's sku, by query id


def read_texts(path: Path) -> dict[str, str]:
    """Read lines of `qid<TAB>text`: texts by query id. Raises StartError."""
    texts: dict[str, str] = {}
    for number, line in read_lines(path):
        qid, tab, text = line.partition("\t")
        if not (qid and tab and text.strip()):
            raise _malformed(path, number, "qid<TAB>text")
        if qid in texts:
            raise StartError(f"{path.name}：第 {number} 行的 {qid} 重复")
        texts[qid] = text.strip()
    return texts


def read_qrels(path: Path) -> Qrels:
    """Read lines of `qid 0 sku grade`; a product that is not listed has grade 0.

    Raises:
        StartError: the file can't be read or a line has another form.
    """
    qrels: Qrels = {}
    for number, line in read_lines(path):
        parts = line.split()
        if len(parts) != 4 or not parts[3].isdecimal():
            raise _malformed(path, number, "qid 0 sku grade")
        qrels.setdefault(parts[0], {})[parts[2]] = int(parts[3])
    return qrels


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Return the lines that are not blank, numbered from 1. Raises StartError."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"读不了 {path}：{error}") from error
    return ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def _malformed(path: Path, number: int, form: str) -> StartError:
    return StartError(f"{path.name}：第 {number} 行应为 {form}")
