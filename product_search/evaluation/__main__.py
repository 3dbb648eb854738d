"""Door: `python -m product_search.evaluation`, judged queries through the real retrieval."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from data_models import SearchMode
from product_search.errors import AppError, StartError
from product_search.evaluation import measures, report, runner, trec
from product_search.settings import load_settings

log = logging.getLogger(__name__)

HALVES = {"tuning": 1, "reported": 0}  # odd numbers of each kind tune, even ones are reported


def main() -> int:
    """0; 1 where the gate found a significant loss; 2 where it can't be done, with the reason."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    options = _parser().parse_args()
    try:
        return _run(options)
    except (AppError, StartError) as error:
        log.error("%s", error)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m product_search.evaluation")
    parser.add_argument("--queries", type=Path, required=True, help="每行 qid<TAB>查询词")
    parser.add_argument("--qrels", type=Path, required=True, help="TREC：每行 qid 0 sku 等级")
    parser.add_argument(
        "--catalogue", type=Path, help="临时导入这个商品文件（默认：设置所指的商品目录）"
    )
    parser.add_argument(
        "--modes",
        nargs="+",
        type=SearchMode,
        default=list(runner.TEXT_MODES),
        choices=runner.TEXT_MODES,
    )
    parser.add_argument("--half", choices=HALVES, help="只用编号为奇数（tuning）或偶数的查询")
    parser.add_argument("--json", type=Path, help="结果写到这个文件")
    parser.add_argument("--plot", type=Path, help="图写到这个文件（.png、.svg）")
    parser.add_argument("--gate", type=Path, help="以前的结果；显著变差则退出码为 1")
    return parser


def _run(options: argparse.Namespace) -> int:
    queries, qrels = trec.read_queries(options.queries), trec.read_qrels(options.qrels)
    unknown = qrels.keys() - queries.keys()
    if unknown:
        raise StartError(f"{options.qrels.name} 里有没有查询词的 qid：{'、'.join(sorted(unknown))}")
    judged = {qid: grades for qid, grades in qrels.items() if _is_in(qid, options.half)}
    if not judged:
        raise StartError("没有带等级的查询")
    with runner.catalogue(load_settings(), options.catalogue) as resources:
        runs = runner.run_all(
            resources.retrieval, {qid: queries[qid] for qid in judged}, options.modes
        )
        about = {"encoder": resources.encoders.name, "queries": len(judged)}
    results = {str(mode): measures.per_query(judged, run) for mode, run in runs.items()}
    sys.stdout.write("\n".join(report.table(results)) + "\n")
    if options.json:
        found = report.document(results, about)
        options.json.write_text(json.dumps(found, ensure_ascii=False, indent=1), "utf-8")
    if options.plot:
        report.plot(results, options.plot)
    return _gate(results, options.gate) if options.gate else 0


def _is_in(qid: str, half: str | None) -> bool:
    number = qid.rpartition("-")[2]
    if half is None:
        return True
    if not number.isdecimal():
        raise StartError(f"{qid} 没有编号，分不出两半")
    return int(number) % 2 == HALVES[half]


def _gate(results: report.Results, baseline: Path) -> int:
    lost = list(report.losses(results, baseline))
    for line in lost:
        log.error("显著变差：%s", line)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
