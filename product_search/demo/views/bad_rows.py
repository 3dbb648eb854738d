"""Rows that an import left out or took with a fault: shown, and to be downloaded."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from functools import partial
from typing import Any

import streamlit as st

from data_models import BadImportRow, ImportStatus
from product_search.client import ApiClient
from product_search.demo.language import _
from product_search.demo.spreadsheets import as_text

_PAGE = 1000


def show_bad_rows(client: ApiClient, status: ImportStatus) -> None:
    """Show the bad rows that the status holds, and a download of all."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(_("坏行"), anchor=False, width="content")
        st.download_button(
            _("下载坏行（CSV）"),
            partial(bad_rows_csv, client, status.import_id),
            file_name=f"bad-rows-{status.import_id}.csv",
            mime="text/csv",
            key="bad_rows",
            icon=":material/download:",
            on_click="ignore",
        )
    st.dataframe(
        _table(status.bad_rows),
        hide_index=True,
        column_config={_("行号"): st.column_config.NumberColumn(width="small")},
        alt=_("坏行的行号与原因"),
    )
    if status.next_after is not None:
        shown = _("这里是前 {count} 个；下载的文件里有全部，每次导入最多记下 10000 个。")
        st.caption(shown.format(count=len(status.bad_rows)))


def show_warnings(status: ImportStatus) -> None:
    """Show the rows that went in with a fault."""
    st.subheader(_("警告"), anchor=False)
    st.caption(_("这些行已经导入，但有应当知道的不足。"))
    st.dataframe(
        _table(status.warnings),
        hide_index=True,
        column_config={_("行号"): st.column_config.NumberColumn(width="small")},
        alt=_("有警告的行的行号与原因"),
    )


def _table(rows: list[BadImportRow]) -> list[dict[str, Any]]:
    return [{_("行号"): row.line, _("原因"): row.reason} for row in rows]


def bad_rows_csv(client: ApiClient, import_id: int) -> bytes:
    """Return all recorded bad rows of an import as CSV, in an encoding that Excel reads too.

    Raises:
        ApiError, ApiUnreachable: As ApiClient does.
    """
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow([_("行号"), _("原因")])
    writer.writerows([row.line, as_text(row.reason)] for row in _all_bad_rows(client, import_id))
    return written.getvalue().encode("utf-8-sig")


def _all_bad_rows(client: ApiClient, import_id: int) -> Iterator[BadImportRow]:
    after: int | None = 0
    while after is not None:
        page = client.get_import(import_id, after, _PAGE)
        yield from page.bad_rows
        after = page.next_after
