"""The page that generates images: what is asked for, what comes of it, and its uses."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from data_models import GenerationOut, GenerationQuery, ProductOut
from product_search.client import ApiClient
from product_search.demo.views import generations
from product_search.settings import ROOT
from tests.clock import until
from tests.demo.pages import html, opened, said, titles

PAGE = "pages/generate.py"
SMALL = {"width": 256, "height": 256, "steps": 2}


def generated(client: ApiClient, **values: object) -> GenerationOut:
    """A generation that has ended."""
    return ended(client, client.generate({"prompt": "红苹果", **SMALL, **values}).generation_id)


def ended(client: ApiClient, generation_id: int) -> GenerationOut:
    until(lambda: not client.get_generation(generation_id).is_under_way, "the generation has ended")
    return client.get_generation(generation_id)


def visited(**address: object) -> AppTest:
    """The page under this address."""
    page = AppTest.from_file(ROOT / PAGE, default_timeout=60)
    for name, value in address.items():
        page.query_params[name] = str(value)
    return page.run()


def asked(page: AppTest, words: str, steps: int = 2, n: int = 1) -> AppTest:
    """The page after a click on the button, small images being wanted."""
    page.text_area(key="generation_prompt").set_value(words)
    page.selectbox(key="generation_size").set_value("256x256")
    page.selectbox(key="generation_n").set_value(n)
    page.number_input(key="generation_steps").set_value(steps)
    return page.button(key="generate").click().run()


def newest(client: ApiClient) -> GenerationOut:
    return client.list_generations(GenerationQuery(limit=1)).items[0]


@pytest.fixture
def product(generating: ApiClient) -> Iterator[ProductOut]:
    fields = {"title": "手冲咖啡壶 <细口>", "category": "厨具"}
    created = generating.create_product(fields, wait=True)
    yield created
    generating.delete_product(created.product_id)


@pytest.mark.usefixtures("api_url")
def test_where_the_model_is_missing_the_command_that_fetches_it_is_shown() -> None:
    page = asked(opened(PAGE), "红色双肩包")
    assert "python -m product_search.manage download-models --generation" in said(page)
    assert page.text_area(key="generation_prompt").value == "红色双肩包"
    assert not page.button(key="generate").disabled


@pytest.mark.usefixtures("generating_url")
def test_words_become_images_the_best_first(generating: ApiClient) -> None:
    page = opened(PAGE)
    page.number_input(key="generation_seed").set_value(7)
    page = asked(page, "红<苹果>", n=3)
    made = ended(generating, newest(generating).generation_id)
    page.run()
    assert sorted(picture.seed for picture in made.pictures) == [7, 8, 9]
    cards = html(page).split('role="article"')[1:4]
    for card, picture in zip(cards, made.pictures, strict=True):
        assert f"种子 {picture.seed}" in card
        assert "AI 生成" in card
    fits = [int(fit) for fit in re.findall(r"符合度 (\d+)%", html(page))]
    assert fits == sorted(fits, reverse=True)
    assert ("没有一张与文字相符" in said(page)) == made.no_match
    assert page.query_params["generation"] == str(made.generation_id)
    assert "<苹果>" not in html(page)


@pytest.mark.usefixtures("generating_url")
def test_an_image_is_wanted_of_a_product_and_becomes_its_own(
    generating: ApiClient, product: ProductOut
) -> None:
    page = visited(product=product.product_id)
    assert "手冲咖啡壶 &lt;细口&gt;" in titles(page)
    page = asked(page, "")
    made = ended(generating, newest(generating).generation_id)
    assert "手冲咖啡壶" in made.prompt
    page.run()
    page.button(key=f"attach_{made.generation_id}_1").click().run()
    assert "暂无图片" in html(page)
    page.button(key="confirm_attach").click().run()
    assert "现在用这张图片" in said(page)
    assert generating.get_product(product.product_id).image_generated
    assert "AI 生成" in html(opened("pages/catalogue.py"))


@pytest.mark.usefixtures("generating_url")
def test_the_product_for_an_image_is_chosen_by_its_title(
    generating: ApiClient, product: ProductOut
) -> None:
    made = generated(generating)
    page = visited(generation=made.generation_id)
    page.button(key=f"attach_{made.generation_id}_1").click().run()
    page.text_input(key="attach_words").set_value("咖啡壶").run()
    page.button(key=f"attach_choose_{product.product_id}").click().run()
    page.button(key="cancel_attach").click().run()
    assert generating.get_product(product.product_id).image_url is None


@pytest.mark.usefixtures("generating_url")
def test_without_words_and_product_the_page_asks_for_words() -> None:
    page = asked(opened(PAGE), "  ")
    assert "请先写下想要的图片" in said(page)


@pytest.mark.usefixtures("generating_url")
def test_a_generation_is_cancelled_while_it_runs(generating: ApiClient) -> None:
    page = asked(opened(PAGE), "红苹果", steps=100, n=4)
    assert page.button(key="generate").disabled
    page.button(key="cancel_generation").click().run()
    made = ended(generating, newest(generating).generation_id)
    assert made.state == "cancelled"
    assert "已取消" in said(page.run())
    assert not page.button(key="generate").disabled


@pytest.mark.usefixtures("generating_url")
def test_past_generations_are_shown_again_page_by_page(
    generating: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = generated(generating, prompt="青苹果"), generated(generating, prompt="红苹果")
    monkeypatch.setattr(generations, "PAGE_SIZE", 1)
    page = opened(PAGE)
    assert titles(page) == ["红苹果"]
    page.button(key="next").click().run()
    assert titles(page) == ["青苹果"]
    page.button(key=f"show_{first.generation_id}").click().run()
    assert f"种子 {first.pictures[0].seed}" in html(page)
    page.button(key="previous").click().run()
    assert page.button(key=f"show_{second.generation_id}")


@pytest.mark.usefixtures("generating_url")
def test_an_unknown_generation_is_told() -> None:
    assert "999999" in said(visited(generation=999999))


@pytest.mark.usefixtures("generating_url")
def test_a_generated_image_is_what_is_searched_by(
    generating: ApiClient, product: ProductOut
) -> None:
    made = generated(generating)
    page = AppTest.from_file(ROOT / "web_demo.py", default_timeout=60)
    page.query_params["generation"] = f"{made.generation_id}-1"
    page.run()
    assert not page.error
    assert "AI 生成" in html(page)
    assert "用时" in said(page)
    page.text_input(key="text").set_value(product.title).run()
    assert titles(page)[0].startswith("手冲咖啡壶")
    page.button(key="drop_generated").click().run()
    assert "generation" not in page.query_params
    assert page.file_uploader


@pytest.mark.usefixtures("generating_url")
@pytest.mark.parametrize("given", ["999999-1", "x", "1-9", "-"])
def test_an_address_without_such_an_image_breaks_no_search(given: str) -> None:
    page = AppTest.from_file(ROOT / "web_demo.py", default_timeout=60)
    page.query_params["generation"] = given
    page.run()
    assert not page.exception
    assert bool(page.error) == (given == "999999-1")
