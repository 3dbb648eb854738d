"""Keys on the pages: who may only look, who signs in, and that no key or answer reaches another."""

from __future__ import annotations

from contextlib import closing

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from data_models import ProductListQuery
from product_search.access.scopes import SCOPES
from product_search.client import ApiClient, ApiError
from product_search.context import Scope
from product_search.demo.operators import NEEDED, Operator
from tests.clock import until
from tests.demo.guarded import TITLES, Guarded
from tests.demo.pages import html, opened, said, titles

CATALOGUE = "pages/catalogue.py"
LOOKING = "现在只能查看：登录后可以"
# Each page that writes, and what of it only who may write gets to see.
WRITING = {
    CATALOGUE: "add",
    "pages/imports.py": "import_file_0",
    "pages/generate.py": "generate",
    "pages/duplicates.py": "search_duplicates",
    "pages/system.py": "repair",
}


@pytest.fixture
def own_key(guarded: Guarded, guarded_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page's own key, which only reads."""
    assert guarded_url == guarded.url
    key = guarded.key("网页", Scope.read)
    monkeypatch.setenv("PRODUCT_SEARCH_API_KEY", key)
    return key


def signed_in(page: AppTest, key: str) -> AppTest:
    page.button(key="sign_in").click().run()
    page.text_input(key="key").set_value(key)
    return page.button(key="submit_key").click().run()


def until_refused(client: ApiClient) -> None:
    """Wait until the key is let in no longer."""

    def is_refused() -> bool:
        try:
            client.get_caller()
        except ApiError as error:
            return error.status == 401
        return False

    with closing(client):
        until(is_refused, "the key is refused")


def widgets(page: AppTest) -> set[str]:
    kinds = (page.button, page.text_input, page.toggle, page.file_uploader, page.text_area)
    return {one.key for kind in kinds for one in kind if one.key}


def test_what_the_pages_need_a_scope_for_is_what_the_api_asks_it_for() -> None:
    assert {name: SCOPES[name] for name in NEEDED} == NEEDED
    methods = {name for name in vars(ApiClient) if name in SCOPES}
    assert {name for name in methods if SCOPES[name] is not Scope.read} == NEEDED.keys()


@pytest.mark.usefixtures("own_key")
@pytest.mark.parametrize("name", WRITING)
def test_who_may_only_look_is_told_in_place(name: str) -> None:
    page = opened(name)
    assert LOOKING in said(page)
    assert not page.error
    assert WRITING[name] not in widgets(page)
    assert "sign_in" in widgets(page)


@pytest.mark.usefixtures("own_key")
def test_searching_needs_no_signing_in() -> None:
    page = opened()
    page.text_input(key="text").set_value("苹果").run()
    assert titles(page)[0] == TITLES[0]
    assert LOOKING not in said(page)
    assert "signature=" in html(page)


@pytest.mark.usefixtures("own_key")
def test_a_product_is_read_and_not_changed_without_signing_in(guarded: Guarded) -> None:
    page = opened(CATALOGUE)
    page.button(key=next(key for key in widgets(page) if key.startswith("edit_"))).click().run()
    assert page.text_input(key="form1_title").disabled
    assert "form1_save" not in widgets(page)
    assert page.text_input(key="form1_title").value
    signed_in(page, guarded.key("改的人", Scope.write))
    assert not page.text_input(key="form1_title").disabled
    assert "form1_save" in widgets(page)


@pytest.mark.usefixtures("own_key")
def test_an_operator_signs_in_writes_and_signs_out(guarded: Guarded) -> None:
    key = guarded.key("张三", Scope.write)
    page = signed_in(opened(CATALOGUE), key)
    assert "**张三** :green-badge[可以改动]" in said(page)
    page.button(key="add").click().run()
    page.text_input(key="form1_title").set_value("张三的商品").run()
    page.button(key="form1_save").click().run()
    assert "已保存“张三的商品”" in said(page)
    operator: Operator = page.session_state["operator"]
    page.button(key="sign_out").click().run()
    assert LOOKING in said(page)
    assert "add" not in widgets(page)
    assert "operator" not in page.session_state
    with pytest.raises(RuntimeError, match="closed"):
        operator.client.create_product({"title": "太晚了"})


@pytest.mark.usefixtures("own_key")
def test_the_key_is_only_in_the_client_of_its_session(guarded: Guarded) -> None:
    key = guarded.key("李四", Scope.write)
    page = signed_in(opened(CATALOGUE), key)
    assert page.button(key="sign_out")
    assert key.rpartition("_")[2] not in repr(page.session_state.to_dict())
    assert not page.query_params
    page.button(key="sign_out").click().run()
    page.button(key="sign_in").click().run()
    assert page.text_input(key="key").value == ""
    assert page.text_input(key="key").proto.type == page.text_input(key="key").proto.PASSWORD


@pytest.mark.usefixtures("own_key")
@pytest.mark.parametrize(
    ("key", "told"),
    [
        (f"psk_{'a' * 12}_{'b' * 43}", "API 不认这把密钥"),
        ("一串别的字", "这不是一把密钥"),
        (f"psk_{'a' * 12}_{'b' * 43}\r\nX: y", "这不是一把密钥"),
        ("", "这不是一把密钥"),
    ],
)
def test_a_wrong_key_is_told_in_place_and_the_box_is_empty(key: str, told: str) -> None:
    page = signed_in(opened(CATALOGUE), key)
    assert told in said(page)
    assert page.text_input(key="key").value == ""
    assert "operator" not in page.session_state
    assert not key or key not in said(page)


@pytest.mark.usefixtures("own_key")
def test_a_key_that_is_revoked_signs_its_operator_out(guarded: Guarded) -> None:
    key = guarded.key("王五", Scope.admin)
    page = signed_in(opened(CATALOGUE), key)
    page.button(key="add").click().run()
    page.text_input(key="form1_title").set_value("王五的商品").run()
    guarded.revoke(key)
    until_refused(ApiClient(guarded.url, key=key))
    page.button(key="form1_save").click().run()
    assert "登录的密钥不再有效" in said(page)
    assert "sign_out" not in widgets(page)
    assert page.text_input(key="form1_title").value == "王五的商品"
    with closing(ApiClient(guarded.url, key=guarded.key("看的人", Scope.read))) as reader:
        assert reader.list_products(ProductListQuery(q="王五的商品")).total == 0


@pytest.mark.usefixtures("own_key")
def test_a_key_that_may_too_little_is_told_so(guarded: Guarded) -> None:
    page = signed_in(opened("pages/system.py"), guarded.key("赵六", Scope.write))
    assert "密钥“赵六”可以改动：要核对并修复，请换一把权限更高的" in said(page)
    assert "repair" not in widgets(page)
    page.button(key="sign_in_check_drift").click().run()
    page.text_input(key="key").set_value(guarded.key("管理员", Scope.admin))
    page.button(key="submit_key").click().run()
    assert "**管理员** :green-badge[可以管理]" in said(page)
    assert page.button(key="repair")


@pytest.mark.usefixtures("own_key")
def test_who_signs_in_signs_nobody_else_in(guarded: Guarded) -> None:
    theirs, ours = opened(CATALOGUE), opened(CATALOGUE)
    signed_in(theirs, guarded.key("一个人", Scope.write))
    assert "add" in widgets(theirs.run())
    assert "add" not in widgets(ours.run())
    assert "sign_in" in widgets(ours)


@pytest.mark.usefixtures("guarded_url")
def test_without_a_key_of_its_own_the_page_says_so_and_shows_nothing(guarded: Guarded) -> None:
    page = opened()
    assert "API 只答有密钥的请求，而网页没有密钥" in said(page)
    assert "正在等待 API 恢复" not in said(page)
    page.button(key="sign_in_instead").click().run()
    page.text_input(key="key").set_value(guarded.key("有钥匙", Scope.read))
    page.button(key="submit_key").click().run()
    assert not page.error
    assert "生鲜果蔬" in page.multiselect(key="category").options


@pytest.mark.usefixtures("guarded_url")
def test_what_an_operator_has_read_is_not_shown_to_others(guarded: Guarded) -> None:
    theirs, ours = opened(), opened()
    signed_in(theirs, guarded.key("有钥匙", Scope.read))
    assert "生鲜果蔬" in theirs.run().multiselect(key="category").options
    assert ours.run().multiselect(key="category").options == []
    theirs.button(key="sign_out").click().run()
    assert theirs.multiselect(key="category").options == []


def test_a_page_whose_own_key_was_revoked_says_so(guarded: Guarded, own_key: str) -> None:
    guarded.revoke(own_key)
    until_refused(ApiClient(guarded.url, key=own_key))
    st.cache_data.clear()
    assert "API 不认网页自己的密钥" in said(opened(CATALOGUE))


@pytest.mark.usefixtures("guarded_url")
def test_a_page_whose_own_key_writes_warns(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRODUCT_SEARCH_API_KEY", guarded.key("过大", Scope.write))
    assert "网页自己的密钥不是只读的" in said(opened(CATALOGUE))


@pytest.mark.usefixtures("api_url")
def test_where_keys_are_off_nobody_signs_in() -> None:
    page = opened(CATALOGUE)
    assert not {"sign_in", "sign_out"} & widgets(page)
    assert page.button(key="add")
    assert "本机以外也能打开" not in said(page)


@pytest.mark.usefixtures("api_url")
@pytest.mark.parametrize("address", [None, "0.0.0.0", "192.168.1.5"])
def test_a_page_that_others_reach_warns_where_keys_are_off(
    address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = st.get_option("server.address")
    assert at == "127.0.0.1"
    monkeypatch.setattr(st, "get_option", lambda name: address if name == "server.address" else at)
    assert "本机以外也能打开这个网页" in said(opened(CATALOGUE))
