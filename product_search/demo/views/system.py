"""The system page: the state of each part, the drift of the stores, and the runs."""

from __future__ import annotations

from html import escape

import streamlit as st

from data_models import DriftKind, DriftRun, Health, OutboxCounts, PageQuery, RunOut
from product_search.client import ApiClient
from product_search.demo.errors import show_errors
from product_search.demo.html import plain
from product_search.demo.language import N_, _
from product_search.demo.service import encoder_name
from product_search.demo.sign_in import allows
from product_search.demo.views.runs import exact_time_text, run_html

DRIFT_NAMES = {
    DriftKind.missing: N_("缺少向量"),
    DriftKind.orphaned: N_("多余的向量"),
    DriftKind.stale_revision: N_("过时的向量"),
    DriftKind.wrong_encoder: N_("编码器不符"),
    DriftKind.unqueued: N_("没有排上队"),
    DriftKind.missing_picture: N_("缺少图片文件"),
    DriftKind.orphaned_picture: N_("多余的图片文件"),
}
DRIFT_NOTES = {
    DriftKind.missing: N_("商品在目录里，却搜不到"),
    DriftKind.orphaned: N_("商品已不在，向量还在；不会出现在结果里"),
    DriftKind.stale_revision: N_("商品改过，搜索仍按旧内容"),
    DriftKind.wrong_encoder: N_("向量出自另一个编码器，分数不可比"),
    DriftKind.unqueued: N_("商品在等建立索引，却没有人会去做"),
    DriftKind.missing_picture: N_("商品有图片，文件却不在；不能自动修复，请重新上传图片"),
    DriftKind.orphaned_picture: N_("没有商品用它们，只占空间"),
}
# A run that takes hours is under way behind many newer runs.
_MAX_RUNS = 100
_ENDED_SHOWN = 10
_BUSY = "system_busy"


def is_busy() -> bool:
    """Tell whether something was about to change when the page was shown last."""
    return bool(st.session_state.get(_BUSY))


def show_system(client: ApiClient) -> None:
    """Show the parts, the drift and the runs, each with its own error.

    The whole page reruns as soon as it becomes busy or idle; a silent part counts as busy, since
    it may come back.
    """
    will_change = _show_parts(client)
    drift = st.container(key="drift")
    runs = _runs(client)
    with drift:
        _show_drift(client, next((run for run in runs or () if _is_check(run)), None))
    if runs is not None:
        _show_runs(runs)
    will_change = will_change or runs is None or any(run.is_under_way for run in runs)
    if will_change != is_busy():
        st.session_state[_BUSY] = will_change
        st.rerun()


# The parts


def _show_parts(client: ApiClient) -> bool:
    """Show the parts; tell whether they will change: index work waits, or the API is silent."""
    health = None
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(_("各部分"), anchor=False, width="content")
        st.button(_("刷新"), key="refresh", type="tertiary", icon=":material/refresh:")
    with show_errors():
        health = client.get_health()
    if health is None:
        return True
    with st.container(key="parts"):
        _show_stores(health)
        _show_encoder(health)
        _show_outbox(health.outbox)
    for reason in health.reasons:
        st.caption(plain(reason))
    return health.outbox.pending > 0


def _show_stores(health: Health) -> None:
    parts = [
        (":material/database:", _("数据库"), health.database, _("商品目录，一切以它为准")),
        (":material/hub:", _("向量库"), health.vector_store, _("搜索用的向量")),
    ]
    if health.kafka is not None:
        parts.append((":material/swap_horiz:", "Kafka", health.kafka, _("传递要建立索引的改动")))
    for icon, name, state, note in parts:
        is_up = state == "ok"
        with _part(icon, name, _("正常") if is_up else _("没有响应"), "green" if is_up else "red"):
            st.caption(note)


def _show_encoder(health: Health) -> None:
    encoders = health.encoders
    word = _("可以更换") if encoders.hint else _("正常")
    colour = "orange" if encoders.hint else "green"
    with _part(":material/neurology:", _("编码器"), word, colour):
        device = _("运行于 {device}").format(device=plain(encoders.device))
        st.caption(f"{encoder_name(encoders.name)} · {device} · `{encoders.fingerprint}`")
        if encoders.hint:
            st.caption(plain(encoders.hint))


def _show_outbox(outbox: OutboxCounts) -> None:
    word, colour = _("已跟上"), "green"
    if outbox.failed:
        word, colour = _("有失败"), "red"
    elif outbox.pending:
        word, colour = _("处理中"), "blue"
    with _part(":material/pending_actions:", _("建立索引"), word, colour):
        counts = _("待处理 {pending} · 重试中 {retrying} · 失败 {failed}")
        st.caption(counts.format(**outbox.model_dump()))


def _part(icon: str, name: str, word: str, colour: str) -> st.delta_generator.DeltaGenerator:
    card = st.container(border=True, gap="xxsmall")
    card.markdown(f"{icon} **{name}** :{colour}-badge[{word}]")
    return card


# Drift


def _is_check(run: RunOut) -> bool:
    return run.kind == "doctor" and run.is_under_way


def _show_drift(client: ApiClient, check: RunOut | None) -> None:
    st.subheader(_("两个存储是否一致"), anchor=False)
    report = None
    with show_errors():
        report = client.get_drift()
    if report is None:
        return
    newest = report.newest
    is_under_way = newest is not None and newest.state in ("queued", "running")
    if check is not None:
        st.html(run_html(check))
    elif report.last is None:
        st.info(_("还没有核对过。核对会把目录、向量和图片逐一比较，不影响使用。"))
    else:
        _show_last_check(report.last)
    if newest is not None and newest.state == "failed":
        failed = _("最新一次核对没有做完：{reason}")
        st.error(failed.format(reason=plain(newest.error or _("原因不明"))))
    _show_drift_buttons(client, report.last, is_under_way=is_under_way)


def _show_drift_buttons(client: ApiClient, last: DriftRun | None, *, is_under_way: bool) -> None:
    if not allows("check_drift", _("核对并修复")):
        return
    needs_repair = last is not None and last.left > 0
    is_repair = None
    with st.container(horizontal=True):
        for repair, key, label, icon in (
            (False, "check", _("核对"), ":material/rule:"),
            (True, "repair", _("核对并修复"), ":material/build:"),
        ):
            is_primary = repair == needs_repair
            if st.button(
                label,
                key=key,
                icon=icon,
                type="primary" if is_primary else "secondary",
                disabled=is_under_way,
            ):
                is_repair = repair
    if is_repair is not None:
        with show_errors():
            client.repair_drift() if is_repair else client.check_drift()
            st.session_state[_BUSY] = True
            st.rerun()


def _show_last_check(last: DriftRun) -> None:
    compared = _(
        "{moment} 核对了 {products} 件商品、{entities} 条向量、{pictures} 个图片文件"
    ).format(
        moment=exact_time_text(last.finished_at),
        products=f"{last.products:,}",
        entities=f"{last.entities:,}",
        pictures=f"{last.pictures:,}",
    )
    found = {kind: count for kind, count in last.found.items() if count}
    if not found:
        st.success(_("一致，没有找到问题。"), icon=":material/check_circle:")
    elif not last.left:
        fixed = _("找到的 {count} 处不一致都已安排修复。").format(count=sum(found.values()))
        st.success(fixed, icon=":material/check_circle:")
    else:
        left = _("还有 {count} 处不一致。").format(count=last.left)
        st.warning(left, icon=":material/warning:")
    st.caption(compared)
    if found:
        st.html("".join(_kind_html(last, kind) for kind in found))
        _show_examples(last)


def _kind_html(last: DriftRun, kind: DriftKind) -> str:
    left = last.left_of(kind)
    word = _("剩余 {count}").format(count=left) if left else _("已修复")
    badge = f'<span class="ps-badge ps-{"warn" if left else "ok"}">{escape(word)}</span>'
    name = f"{_(DRIFT_NAMES[kind])} × {last.found[kind]}"
    return (
        f'<div class="ps-run"><div class="ps-run-head">'
        f'<span class="ps-title">{escape(name)}</span>{badge}</div>'
        f'<div class="ps-labels">{escape(_(DRIFT_NOTES[kind]))}</div></div>'
    )


def _show_examples(last: DriftRun) -> None:
    if not last.examples:
        return
    with st.expander(_("具体是哪些"), icon=":material/list:", key="examples"):
        rows = [
            {
                _("种类"): _(DRIFT_NAMES[example.kind]),
                _("对象"): example.subject,
                _("原因"): example.reason,
            }
            for example in last.examples
        ]
        st.dataframe(rows, hide_index=True, alt=_("不一致的例子"))


# Runs


def _runs(client: ApiClient) -> list[RunOut] | None:
    with show_errors():
        return client.list_runs(PageQuery(limit=_MAX_RUNS)).items
    return None


def _show_runs(runs: list[RunOut]) -> None:
    under_way = [run for run in runs if run.is_under_way]
    if under_way:
        st.subheader(_("进行中"), anchor=False)
        _show_list(under_way)
    st.subheader(_("最近的后台运行"), anchor=False)
    ended = [run for run in runs if not run.is_under_way]
    if not ended:
        st.caption(_("还没有。导入、核对、查重、图文核查和目录图完成后列在这里。"))
    if len(ended) > _ENDED_SHOWN and not st.session_state.get("all_runs"):
        _show_list(ended[:_ENDED_SHOWN])
        st.button(_("显示更多"), key="more_runs", type="tertiary", on_click=_show_more)
    else:
        _show_list(ended)


def _show_more() -> None:
    st.session_state["all_runs"] = True


def _show_list(runs: list[RunOut]) -> None:
    for run in runs:
        with st.container(horizontal=True, vertical_alignment="center", key=f"run_{run.run_id}"):
            st.html(run_html(run))
            if run.kind in ("import", "local_import"):
                opened = st.button(
                    _("查看"),
                    key=f"open_{run.run_id}",
                    type="tertiary",
                    icon=":material/arrow_forward:",
                )
                if opened:
                    st.switch_page("pages/imports.py", query_params={"import": str(run.run_id)})
