"""The import page: a file and the mapping of its columns, an import and how it goes."""

from __future__ import annotations

from typing import Any

import streamlit as st

from data_models import INT64_MAX, ImportStatus
from product_search.client import ApiClient
from product_search.demo import import_file
from product_search.demo.errors import FIELD_NAMES, show_errors
from product_search.demo.html import plain
from product_search.demo.import_file import IMAGE, REQUIRED, ImportFile
from product_search.demo.language import N_, _
from product_search.demo.operators import may
from product_search.demo.sign_in import allows
from product_search.demo.tables import FileUnreadable
from product_search.demo.views import runs
from product_search.demo.views.bad_rows import show_bad_rows, show_warnings

COLUMN_NAMES = FIELD_NAMES | {IMAGE: N_("图片路径")}
MAX_UPLOAD_MB = 200
_BAD_SHOWN = 100
_NO_COLUMN = -1


def shown_import_id() -> int | None:
    """Return the id of the shown import; the address keeps it, so that a reload shows it again."""
    given = st.query_params.get("import", "")
    if given.isdecimal() and 0 < int(given[:20]) <= INT64_MAX:
        st.session_state["import_id"] = int(given[:20])
    import_id: int | None = st.session_state.get("import_id")
    if import_id is not None:
        st.query_params["import"] = str(import_id)
    return import_id


def _leave_import() -> None:
    st.session_state["import_id"] = None
    st.query_params.pop("import", None)


# The file


def show_file(client: ApiClient, *, is_up: bool) -> None:
    """Ask for a file, then for its mapping; with the service up, a button starts the import."""
    if is_up and not allows("start_import", _("导入商品")):
        _show_columns()
        return
    file: ImportFile | None = st.session_state.get("import_file")
    if file is None:
        _show_uploader()
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        size = f"{len(file.content) / 1024:,.0f} KB"
        st.markdown(f":material/description: **{plain(file.name)}** · {size}", width="content")
        st.button(
            _("换一个文件"),
            key="forget_file",
            type="tertiary",
            icon=":material/close:",
            on_click=_forget_file,
        )
    mapping = _mapping_inputs(file)
    _show_preview(file, mapping)
    _show_start(client, file, mapping, is_up=is_up)


def style_uploader() -> None:
    """Put the words of this page's uploader, larger than those for images, in its place."""
    words = {
        "--ps-choose": _("选择文件"),
        "--ps-or-drop": _("或拖到这里 · 不超过 {count} MB").format(count=MAX_UPLOAD_MB),
    }
    values = "".join(f'{name}:"{text}";' for name, text in words.items())
    st.html(f"<style>.st-key-import_upload{{{values}}}</style>")


def _show_uploader() -> None:
    st.markdown(
        _(
            "把商品表一次导入目录：**CSV** 或 **JSONL**；连同图片时打成一个 **ZIP**。"
            "商家编号（sku）相同的商品会更新，其余新增；同一个文件再导入一次不会重复。"
        )
    )
    with st.container(key="import_upload"):
        upload = st.file_uploader(
            _("商品表"),
            type=import_file.FILE_TYPES,
            key=f"import_file_{st.session_state.get('import_files', 0)}",
            max_upload_size=MAX_UPLOAD_MB,
        )
    if upload is None:
        _show_columns()
        return
    try:
        file = import_file.read_file(upload.name, upload.getvalue())
    except FileUnreadable as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    st.session_state["import_file"] = file
    st.rerun()


def _show_columns() -> None:
    with st.expander(_("表里可以有哪些列"), icon=":material/table:"):
        known = [
            {
                _("列名"): name,
                _("内容"): _(COLUMN_NAMES[name]),
                _("必填"): "✓" if name in REQUIRED else "",
            }
            for name in import_file.FIELDS
        ]
        st.table(known)
        st.caption(
            _(
                "列名不同也可以，上传后可对应。文件里没有的列保持原样，空单元格会清空该字段；"
                "属性是 JSON 对象，图片路径是 ZIP 内的文件名。"
            )
        )


def _forget_file() -> None:
    """Forget the file; the next uploader is a new one, so that the file does not come back."""
    st.session_state["import_file"] = None
    st.session_state["import_files"] = st.session_state.get("import_files", 0) + 1


def _mapping_inputs(file: ImportFile) -> dict[str, int]:
    """Ask which column each field is taken from."""
    st.subheader(_("对应列"), anchor=False)
    st.caption(_("已按列名猜好，请核对。"))
    guess = file.guess
    chosen: dict[str, int] = {}
    with st.container(key="mapping"):
        for name in import_file.FIELDS:
            if name == IMAGE and not file.is_zip:
                continue
            with st.container(gap="xxsmall"):
                place = _column_input(file, name, guess.get(name, _NO_COLUMN))
            if place != _NO_COLUMN:
                chosen[name] = place
    if not file.is_zip:
        st.caption(_("单独的表格不带图片：要导入图片，请把表格和图片打成一个 ZIP。"))
    return chosen


def _column_input(file: ImportFile, name: str, guess: int) -> int:
    label = _(COLUMN_NAMES[name])
    if name in REQUIRED:
        label = _("{label}（必填）").format(label=label)
    nameless = _("第 {number} 列")
    names = {
        place: column or nameless.format(number=place + 1)
        for place, column in enumerate(file.columns)
    }
    names[_NO_COLUMN] = _("不导入")
    options = list(names)
    place: int = st.selectbox(
        label,
        options,
        index=options.index(guess),
        format_func=names.__getitem__,
        # Another for each file: the columns of the last are none of this one.
        key=f"column_{name}_{st.session_state.get('import_files', 0)}",
        persist_state="session",
    )
    if place != _NO_COLUMN and file.rows:
        example = _cell(file.rows[0][place])[:60]
        st.caption(_("例如：{example}").format(example=plain(example)) if example else _("（空）"))
    return place


def _cell(value: Any) -> str:
    # What UTF-8 can't carry can't be sent to a browser.
    return "" if value is None else str(value).encode("utf-8", "replace").decode("utf-8")


def _show_preview(file: ImportFile, mapping: dict[str, int]) -> None:
    left_out = [name for place, name in enumerate(file.columns) if place not in mapping.values()]
    st.subheader(_("预览"), anchor=False)
    if mapping and file.rows:
        rows = [
            {_(COLUMN_NAMES[name]): _cell(row[place]) for name, place in mapping.items()}
            for row in file.rows
        ]
        st.dataframe(rows, hide_index=True, alt=_("文件的前几行，按对应后的列"))
    elif not file.rows:
        st.warning(_("文件里没有商品。"), icon=":material/warning:")
    if left_out:
        names = ", ".join(plain(name) for name in left_out[:20])
        st.caption(_("不导入的列：{names}").format(names=names))


def _show_start(
    client: ApiClient, file: ImportFile, mapping: dict[str, int], *, is_up: bool
) -> None:
    lacking = [_(COLUMN_NAMES[name]) for name in import_file.missing_fields(mapping)]
    if lacking:
        text = _("还不能导入：请为必填的{names}选择列。").format(names=", ".join(lacking))
        st.warning(text, icon=":material/warning:")
    pressed = st.button(
        _("开始导入"),
        key="start_import",
        type="primary",
        icon=":material/upload:",
        disabled=bool(lacking) or not file.rows or not is_up,
    )
    if not pressed:
        return
    with show_errors(), st.spinner(_("正在上传…")):
        try:
            with import_file.open_renamed(file, mapping) as content:
                accepted = client.start_import(file.name, content)
        except FileUnreadable as error:
            st.error(plain(str(error)), icon=":material/error:")
            return
        st.session_state["import_id"] = accepted.import_id
        _forget_file()
        st.rerun()


# The import


def show_import(client: ApiClient, import_id: int) -> None:
    """Show the progress of an import, or its end and its bad rows."""
    status = _status(client, import_id)
    if status is None:
        st.button(_("导入另一个文件"), key="next_file", on_click=_leave_import)
        return
    st.subheader(f":material/description: {plain(status.file)}", anchor=False)
    if status.state in ("queued", "running"):
        if st.session_state.get("cancelling") == import_id:
            dialog = st.dialog(_("取消导入"), icon=":material/cancel:", on_dismiss=_set_cancelling)
            dialog(_confirm_cancelling)(client, import_id)
        st.fragment(_show_progress, run_every=runs.POLL_S)(client, import_id)
        if may("cancel_import"):
            st.button(
                _("取消导入"),
                key="cancel_import",
                icon=":material/cancel:",
                on_click=_set_cancelling,
                args=(import_id,),
            )
        return
    _show_end(status)
    _show_counts(status)
    st.button(
        _("导入另一个文件"),
        key="next_file",
        type="primary",
        icon=":material/upload_file:",
        on_click=_leave_import,
    )
    if status.bad:
        show_bad_rows(client, status)
    if status.warnings:
        show_warnings(status)


def _status(client: ApiClient, import_id: int) -> ImportStatus | None:
    with show_errors():
        return client.get_import(import_id, limit=_BAD_SHOWN)
    return None


def _show_progress(client: ApiClient, import_id: int) -> None:
    """Show the progress once a second until the import ends; then rerun the whole page."""
    status = _status(client, import_id)
    if status is None:  # the error is shown; asked again in a second
        return
    if status.state not in ("queued", "running"):
        st.rerun()
    throughput = runs.throughput_of(import_id)
    throughput.add(status.rows_done)
    done = runs.share(status.rows_done, status.rows_total)
    st.progress(done or 0.0, text=_progress_text(status, throughput.per_second))
    _show_counts(status)
    st.caption(_("可以离开这一页：导入在后台进行，服务重启后接着做。"))


def _set_cancelling(import_id: int | None = None) -> None:
    """Open the dialog before an import is cancelled, or close it."""
    st.session_state["cancelling"] = import_id


def _confirm_cancelling(client: ApiClient, import_id: int) -> None:
    st.warning(_("确认取消这次导入？已经写入的商品保留，其余不再写入。"))
    with st.container(horizontal=True):
        is_confirmed = st.button(_("确认取消"), key="confirm_cancel", type="primary")
        if st.button(_("继续导入"), key="keep_importing"):
            _set_cancelling()
            st.rerun()
    if is_confirmed:
        with show_errors():
            client.cancel_import(import_id)
            _set_cancelling()
            st.rerun()


def _progress_text(status: ImportStatus, rate: float | None) -> str:
    if status.state == "queued":
        return _("排队中：前面的导入完成后开始")
    if status.rows_total is None:
        return _("正在数行…")
    parts = [
        _("{done} / {total} 行").format(
            done=f"{status.rows_done:,}", total=f"{status.rows_total:,}"
        )
    ]
    if rate:
        left = runs.duration((status.rows_total - status.rows_done) / rate)
        parts.append(_("每秒 {rate} 行").format(rate=f"{rate:,.0f}"))
        parts.append(_("约剩 {duration}").format(duration=left))
    return " · ".join(parts)


def _show_end(status: ImportStatus) -> None:
    if status.state == "failed":
        failed = _("导入中断：{reason}").format(reason=plain(status.error or _("原因不明")))
        st.error(failed, icon=":material/error:")
    elif status.state == "cancelled":
        st.warning(_("导入已取消；已经写入的商品保留。"), icon=":material/cancel:")
    elif status.bad:
        text = _("导入完成，有 {count} 个坏行没有导入；改好后再导入一次，已导入的不会重复。")
        st.warning(text.format(count=status.bad), icon=":material/warning:")
    else:
        st.success(_("导入完成，全部行都已导入。"), icon=":material/check_circle:")
    if status.started_at and status.finished_at:
        seconds = (status.finished_at - status.started_at).total_seconds()
        facts = [
            runs.exact_time_text(status.started_at),
            _("用时 {duration}").format(duration=runs.duration(seconds)),
        ]
        if seconds > 0:
            rate = f"{status.rows_done / seconds:,.0f}"
            facts.append(_("每秒 {rate} 行").format(rate=rate))
        st.caption(" · ".join(facts))


def _show_counts(status: ImportStatus) -> None:
    counts = (
        (_("新增"), status.created),
        (_("更新"), status.updated),
        (_("未变"), status.unchanged),
        (_("坏行"), status.bad),
    )
    with st.container(key="counts"):
        for label, count in counts:
            st.metric(label, f"{count:,}", border=True)
