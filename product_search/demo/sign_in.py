"""Signing in and out: who the visitor is, the dialog that takes a key, its offer in place."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import streamlit as st

from data_models import Caller, Scope
from product_search.client import ApiClient, ApiError, ApiUnreachable
from product_search.demo.errors import error_text
from product_search.demo.html import plain
from product_search.demo.language import N_, _
from product_search.demo.operators import (
    Operator,
    current_caller,
    current_operator,
    enter,
    leave,
    may,
    note_caller,
)
from product_search.demo.service import LOOPBACK
from product_search.settings import Settings

SCOPE_NAMES = {
    Scope.read: N_("只能查看"),
    Scope.write: N_("可以改动"),
    Scope.admin: N_("可以管理"),
}
# Anything else never becomes a header: what refuses an odd header would name it.
_KEY_SHAPE = re.compile(r"psk_[A-Za-z0-9]{12}_[A-Za-z0-9]{43}")
_IS_OPEN, _TYPED, _PROBLEM, _NOTICE = "signing_in", "key", "sign_in_problem", "sign_in_notice"
# The dialogs of the pages: one at a time can be open.
DIALOGS = ("deleting", "bulk", "duplicates_choice", "cancelling", "attaching", _IS_OPEN)


def show_caller(client: ApiClient) -> bool:
    """Show who the visitor is, and the way in or out; False where the API lets nobody in so.

    Where keys are off there is nothing to show.
    """
    refusal = _refusal(client)
    caller = current_caller()
    is_asked = caller is not None and caller.key_id is not None
    if refusal is None and not is_asked and current_operator() is None:
        return True
    with st.sidebar.container(
        horizontal=True, vertical_alignment="center", gap="xsmall", key="caller"
    ):
        _show_name(caller)
    notice: str | None = st.session_state.get(_NOTICE)
    if notice is not None:
        st.error(notice, icon=":material/key_off:")
    if refusal is not None:
        st.error(error_text(refusal), icon=":material/key_off:")
        _sign_in_button("sign_in_instead", _("用自己的密钥登录"))
    elif current_operator() is None and caller is not None and caller.scope is not Scope.read:
        words = _(
            "网页自己的密钥不是只读的：打开这个网页的人都能改动商品目录。请管理员换一把只读的。"
        )
        st.warning(words, icon=":material/lock_open:")
    if st.session_state.get(_IS_OPEN):
        st.dialog(_("登录"), icon=":material/key:", on_dismiss=_close_dialogs)(_show_dialog)()
    return refusal is None


def _refusal(client: ApiClient) -> ApiError | None:
    """Ask the API who the requests of this session come from; return why it lets none in, if so.

    An operator whose key has ended is signed out.
    """
    is_page = current_operator() is None
    try:
        note_caller(_page_caller(client, client.base_url) if is_page else client.get_caller())
    except ApiError as error:
        if error.status not in (401, 403):
            return None
        if is_page:
            note_caller(None)
            return error
        _close_dialogs()
        st.session_state[_NOTICE] = error_text(error)
        leave()
        st.rerun()
    except (ApiUnreachable, ValueError):  # told by what asks for the service's state
        pass
    return None


@st.cache_data(ttl=10, show_spinner=False)
def _page_caller(_client: ApiClient, url: str) -> Caller:
    """Return who the API takes the page itself for, at most some seconds old."""
    return _client.get_caller()


# In the sidebar


def _show_name(caller: Caller | None) -> None:
    operator = current_operator()
    if operator is None:
        if caller is not None:
            st.caption(_(SCOPE_NAMES[caller.scope]), width="content")
        _sign_in_button("sign_in", _("登录"))
        return
    name, scope = plain(operator.caller.name), _(SCOPE_NAMES[operator.caller.scope])
    st.markdown(f":material/person: **{name}** :green-badge[{scope}]", width="content")
    label, icon = _("退出登录"), ":material/logout:"
    st.button(label, key="sign_out", type="tertiary", icon=icon, on_click=_sign_out)


def _sign_in_button(key: str, label: str) -> None:
    if st.button(label, key=key, icon=":material/login:", type="tertiary"):
        _close_dialogs()
        st.session_state[_IS_OPEN] = True
        st.session_state[_NOTICE] = None
        st.rerun()


def _close_dialogs() -> None:
    for name in (*DIALOGS, _PROBLEM):
        st.session_state[name] = None


def _sign_out() -> None:
    leave()
    _close_dialogs()
    st.session_state[_NOTICE] = None


# The dialog


def _show_dialog() -> None:
    if not st.session_state.get(_IS_OPEN):  # the key was good
        st.rerun()
    told = _(
        "用您自己的密钥登录，就能改动商品目录。密钥由管理员发给："
        "`python -m product_search.manage keys create`。"
    )
    st.markdown(told)
    if _is_in_the_clear():
        clear = _("这个网页没有用 HTTPS：密钥会不加密地经过网络。")
        st.warning(clear, icon=":material/lock_open:")
    with st.form("sign_in_form", border=False):
        st.text_input(
            _("密钥"), type="password", key=_TYPED, autocomplete="off", placeholder="psk_…"
        )
        st.form_submit_button(
            _("登录"), key="submit_key", type="primary", icon=":material/login:", on_click=_sign_in
        )
    problem: str | None = st.session_state.get(_PROBLEM)
    if problem is not None:
        st.error(problem, icon=":material/error:")
    st.caption(_("密钥只留在服务器的这次会话里：退出登录、刷新或关闭网页，就忘掉它。"))


def _is_in_the_clear() -> bool:
    """Tell whether what is typed goes over a network unencrypted."""
    address = urlsplit(st.context.url or "")
    return address.scheme == "http" and address.hostname not in LOOPBACK


def _sign_in() -> None:
    """Take the typed key to the API; the box is emptied, whatever it says."""
    key = st.session_state[_TYPED].strip()
    st.session_state[_TYPED] = ""
    st.session_state[_PROBLEM] = None
    if not _KEY_SHAPE.fullmatch(key):
        st.session_state[_PROBLEM] = _("这不是一把密钥：密钥以 psk_ 开头，请整个复制过来。")
        return
    settings = Settings()
    client = ApiClient(settings.api_url, settings.api_public_url, key)
    try:
        caller = client.get_caller()
    except (ApiError, ApiUnreachable, ValueError) as error:
        client.close()
        is_refused = isinstance(error, ApiError) and error.status == 401
        refused = _("API 不认这把密钥：它有误、已被撤销或已过期。")
        st.session_state[_PROBLEM] = refused if is_refused else error_text(error)
        return
    enter(Operator(caller, client))
    _close_dialogs()


# In place


def allows(operation: str, to_do: str) -> bool:
    """Tell whether the visitor may do this; where not, say so here and offer to sign in.

    Args:
        operation: the client's method that is needed.
        to_do: what it is for, in the visitor's language, to go into a sentence.
    """
    if may(operation):
        return True
    operator = current_operator()
    if operator is None:
        words = _("现在只能查看：登录后可以{to_do}。").format(to_do=to_do)
    else:
        lacking = _("密钥“{name}”{scope}：要{to_do}，请换一把权限更高的。")
        scope = _(SCOPE_NAMES[operator.caller.scope])
        words = lacking.format(name=plain(operator.caller.name), scope=scope, to_do=to_do)
    with st.container(
        horizontal=True, vertical_alignment="center", gap="small", key=f"needs_{operation}"
    ):
        st.caption(f":material/lock: {words}", width="content")
        label = _("登录") if operator is None else _("换一把密钥")
        _sign_in_button(f"sign_in_{operation}", label)
    return False
