"""`python -m product_search.evaluation`: judged queries through the real search."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from product_search.errors import StartError
from product_search.evaluation import command, report, searches
from product_search.evaluation.measures import ranking
from product_search.evaluation.sets import trec
from product_search.evaluation.sets.queries import HALVES, TEXT_MODES, Query, half_of
from product_search.settings import load_settings

log = logging.getLogger(__name__)


def main() -> int:
    """Return 0; 1 after a significant loss; 2 after an error, whose reason is logged."""
    return command.run("evaluation", _add_arguments, _run)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--queries", type=Path, required=True, help="每行 qid<TAB>查询词")
    parser.add_argument("--qrels", type=Path, required=True, help="TREC：每行 qid 0 sku 等级")
    parser.add_argument(
        "--catalogue",
        dest="catalog",
        type=Path,
        help="临时导入这个商品文件（默认：设置所指的商品目录）",
    )
    parser.add_argument(
        "--modes",
        nargs="+",
        default=list(TEXT_MODES),
        choices=TEXT_MODES,
    )
    parser.add_argument("--half", choices=HALVES, help="只用编号为奇数（tuning）或偶数的查询")
    parser.add_argument("--json", type=Path, help="结果写到这个文件")
    parser.add_argument("--plot", type=Path, help="图写到这个文件（.png、.svg）")
    parser.add_argument(
        "--compare",
        nargs=2,
        action="append",
        default=[],
        choices=TEXT_MODES,
        metavar=("A", "B"),
        help="A 减 B 的差，附 95%% 区间与配对检验的 p",
    )
    parser.add_argument("--gate", type=Path, help="以前的结果；显著变差则退出码为 1")


def _run(options: argparse.Namespace) -> int:
    texts, qrels = trec.read_texts(options.queries), trec.read_qrels(options.qrels)
    unknown = qrels.keys() - texts.keys()
    if unknown:
        raise StartError(f"{options.qrels.name} 里有没有查询词的 qid：{'、'.join(sorted(unknown))}")
    qrels = {qid: grades for qid, grades in qrels.items() if options.half in (None, half_of(qid))}
    if not qrels:
        raise StartError("没有带等级的查询")
    queries = {qid: Query({"text": texts[qid]}) for qid in qrels}
    with searches.open_catalog(load_settings(), options.catalog) as resources:
        results = {
            mode: ranking.per_query(
                qrels, searches.rank(resources.search, queries, TEXT_MODES[mode])
            )
            for mode in options.modes
        }
        about = {"encoder": resources.encoders.name, "queries": len(qrels)}
    lines = [*report.table(results), *report.comparisons(results, options.compare)]
    sys.stdout.write("\n".join(lines) + "\n")
    if options.json:
        document = report.document(results, about)
        options.json.write_text(json.dumps(document, ensure_ascii=False, indent=1), "utf-8")
    if options.plot:
        report.plot(results, options.plot)
    return _gate(results, options.gate) if options.gate else 0


def _gate(results: report.Results, baseline: Path) -> int:
    losses = list(report.losses(results, baseline))
    for line in losses:
        log.error("显著变差：%s", line)
    return 1 if losses else 0


if __name__ == "__main__":
    sys.exit(main())
