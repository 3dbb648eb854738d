"""Queries and judgements in TREC's formats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from product_search.errors import StartError

Queries = dict[str, str]  # texts by query id
Qrels = dict[str, dict[str, int]]  # grades by product's sku, by query id


def read_queries(path: Path) -> Queries:
    """Lines of `qid<TAB>text`. Raises StartError."""
    queries: Queries = {}
    for number, line in read_lines(path):
        qid, tab, text = line.partition("\t")
        if not (qid and tab and text.strip()):
            raise _wrong(path, number, "qid<TAB>text")
        if qid in queries:
            raise StartError(f"{path.name}：第 {number} 行的 {qid} 重复")
        queries[qid] = text.strip()
    return queries


def read_qrels(path: Path) -> Qrels:
    """Lines of `qid 0 sku grade`; what is not listed has grade 0. Raises StartError."""
    qrels: Qrels = {}
    for number, line in read_lines(path):
        parts = line.split()
        if len(parts) != 4 or not parts[3].isdecimal():
            raise _wrong(path, number, "qid 0 sku grade")
        qrels.setdefault(parts[0], {})[parts[2]] = int(parts[3])
    return qrels


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that say something, numbered from 1. Raises StartError."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"读不了 {path}：{error}") from error
    return ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def _wrong(path: Path, number: int, form: str) -> StartError:
    return StartError(f"{path.name}：第 {number} 行应为 {form}")
