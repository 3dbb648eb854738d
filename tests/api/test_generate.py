"""From words to an image over the real service: a tiny pipeline of the real classes makes it."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from product_search.generation.generator import IdleUnloader
from product_search.generation.handler import GenerationHandler
from product_search.images.provenance import NOTICE
from product_search.runs import queue
from product_search.runs.executor import LEASE, RunContext, RunInterrupted, execute
from product_search.runs.queue import RunClaim, RunKind, RunState
from product_search.settings import Settings
from tests.api.helpers import calibrated, code_of, create, fields_of, resources
from tests.api.studio import (
    Images,
    Open,
    Studio,
    pipeline as pipeline,
    shop as shop,
    some as some,
    studio,
    with_model as with_model,
)
from tests.clock import until

SURE = {"coefficients": {"image_to_text": 0.0}, "intercept": 9.0, "line": 0.5}
UNSURE = SURE | {"intercept": -9.0}


def image_of(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def test_images_are_made_of_words_scored_and_say_what_they_are(shop: Studio) -> None:
    found = shop.made(style="main", negative_prompt="人物", seed=4, n=2, steps=2, width=320)
    assert (found["step"], found["steps"], found["preview_url"]) == (4, 4, None)
    assert found["prompt"].startswith("红色双肩包，")
    assert "白底" in found["prompt"]
    pictures = found["pictures"]
    assert sorted((one["number"], one["seed"]) for one in pictures) == [(1, 4), (2, 5)]
    assert [one["score"] for one in pictures] == sorted(
        (one["score"] for one in pictures), reverse=True
    )
    assert all(0 <= one["confidence"] <= 1 for one in pictures)
    image = image_of(shop.picture(found))
    assert (image.format, image.size, image.mode) == ("PNG", (320, 256), "RGB")
    told = image.info
    assert told["Model"] == found["model"]
    assert (told["Prompt"], told["Seed"]) == (found["prompt"], str(pictures[0]["seed"]))
    assert told["Comment"] == NOTICE
    assert "digitalsourcetype/trainedAlgorithmicMedia" in told["XML:com.adobe.xmp"]


def test_the_same_seed_and_settings_give_the_same_image(shop: Studio) -> None:
    first = shop.made(seed=11, n=2)
    again = shop.made(**{k: v for k, v in first["request"].items() if v is not None})
    other = shop.made(seed=12)

    def by_seed(found: dict[str, Any]) -> dict[int, bytes]:
        pictures = enumerate(found["pictures"])
        return {one["seed"]: shop.picture(found, place) for place, one in pictures}

    assert by_seed(first) == by_seed(again)
    assert by_seed(other)[12] == by_seed(first)[12]
    assert by_seed(first)[11] != by_seed(first)[12]


def test_what_is_left_out_is_settled_and_told(shop: Studio) -> None:
    with shop.generator.held():
        asked = [shop.ask(steps=None) for _ in range(2)]
        drawn = [shop.state(one)["request"] for one in asked]
        for one in asked:
            shop.api.delete(f"/generate/{one}")
    assert drawn[0]["seed"] != drawn[1]["seed"]
    assert (drawn[0]["steps"], drawn[0]["guidance"]) == (8, 0.0)  # of the pipeline's kind


def test_an_image_is_served_small_and_revalidated(shop: Studio, some: dict[str, Any]) -> None:
    url = some["pictures"][0]["image_url"]
    small = shop.api.get(url, params={"size": 64})
    assert small.headers["content-type"] == "image/webp"
    assert max(image_of(small.content).size) == 64
    etag = shop.api.get(url).headers["etag"]
    assert shop.api.get(url, headers={"if-none-match": etag}).status_code == 304
    assert code_of(shop.api.get(url, params={"size": 65})) == (422, "invalid_request")


def test_the_label_is_in_the_corner_only_where_it_is_wanted(
    shop: Studio, some: dict[str, Any], with_model: Open
) -> None:
    with studio(with_model(generation_label=False)) as plain:
        bare = image_of(plain.picture(plain.made(seed=3)))
    marked = image_of(shop.picture(some))
    corner = (200, 230, 256, 256)
    assert marked.crop((0, 0, 190, 256)).tobytes() == bare.crop((0, 0, 190, 256)).tobytes()
    assert marked.crop(corner).tobytes() != bare.crop(corner).tobytes()


def test_progress_moves_step_by_step_with_a_preview(shop: Studio) -> None:
    with shop.generator.held():
        asked = shop.ask(steps=3, n=2)
        found = shop.reach(asked, 1)
        assert (found["state"], found["step"], found["steps"]) == ("running", 1, 6)
        assert found["pictures"] == []
        preview = shop.api.get(found["preview_url"])
        assert preview.headers["content-type"] == "image/webp"
        assert image_of(preview.content).size[0] > 0
        listed = shop.api.get("/system/runs").json()["items"][0]
        assert (listed["kind"], listed["done"], listed["total"]) == ("generate", 1, 6)
        assert listed["subject"] == found["prompt"]
        absent = shop.api.get(f"/generate/{asked}/image/1")
        assert code_of(absent) == (404, "image_not_found")
    ended = shop.ended(asked)
    assert (ended["state"], ended["step"], ended["preview_url"]) == ("done", 6, None)
    assert code_of(shop.api.get(f"/generate/{asked}/preview")) == (404, "image_not_found")


def test_a_cancelled_generation_frees_the_model_within_a_step(shop: Studio) -> None:
    with shop.generator.held():
        shop.generator.steps.clear()
        asked, waits = shop.ask(steps=50), shop.ask()
        shop.reach(asked, 1)
        for one in (waits, asked):
            assert shop.api.delete(f"/generate/{one}").status_code == 204
            assert shop.state(one)["state"] == "cancelled"
    assert shop.made()["state"] == "done"
    assert shop.generator.steps == [1, 2, 1]  # of the second step it hears that it is to end
    assert shop.state(asked)["pictures"] == []


def test_what_has_ended_can_not_be_cancelled(shop: Studio, some: dict[str, Any]) -> None:
    answer = shop.api.delete(f"/generate/{some['generation_id']}")
    assert code_of(answer) == (409, "generation_finished")
    assert shop.state(some["generation_id"]) == some


def test_a_full_queue_refuses_and_says_when_to_come_again(shop: Studio) -> None:
    with shop.generator.held():
        first = shop.ask()
        shop.reach(first, 1)
        waiting = [shop.ask(), shop.ask()]
        refused = shop.api.post("/generate", json={"prompt": "雨伞"})
        assert code_of(refused) == (429, "queue_full")
        assert int(refused.headers["retry-after"]) > 0
    assert [shop.ended(one)["state"] for one in (first, *waiting)] == ["done"] * 3


def test_pages_are_the_whole_list_the_newest_first(shop: Studio) -> None:
    with shop.generator.held():
        made = [shop.ask(steps=9) for _ in range(2)]
        shop.reach(made[0], 1)
        made.append(shop.ask())
        for one in made:
            shop.api.delete(f"/generate/{one}")
    first = shop.api.get("/generate", params={"limit": 2}).json()
    assert [one["generation_id"] for one in first["items"]] == made[:0:-1]
    rest = shop.api.get("/generate", params={"before": first["next_before"]}).json()
    assert rest["items"][0] == shop.state(made[0])
    assert rest["next_before"] is None


@pytest.mark.parametrize("path", ["", "/image/1", "/preview"])
def test_an_unknown_generation_is_told(shop: Studio, path: str) -> None:
    product = create(shop.api)["product_id"]  # an id of another kind of thing is unknown here too
    for unknown in (9_999, product + 90_000):
        answer = shop.api.get(f"/generate/{unknown}{path}")
        assert code_of(answer) == (404, "generation_not_found")
    assert code_of(shop.api.delete("/generate/9999")) == (404, "generation_not_found")


def test_a_run_of_another_kind_is_no_generation(shop: Studio) -> None:
    run_id = shop.api.post("/product/audit").json()["run_id"]
    assert code_of(shop.api.get(f"/generate/{run_id}")) == (404, "generation_not_found")
    assert code_of(shop.api.delete(f"/generate/{run_id}")) == (404, "generation_not_found")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("prompt", " \n"),
        ("prompt", "包" * 513),
        ("negative_prompt", "包" * 513),
        ("style", "油画"),
        ("width", 248),
        ("height", 1032),
        ("width", 260),
        ("width", "512px"),
        ("n", 0),
        ("n", 5),
        ("steps", 0),
        ("steps", 101),
        ("guidance", -1),
        ("guidance", 21),
        ("seed", -1),
        ("seed", 2**32),
        ("seed", True),
        ("product_id", 0),
        ("sampler", "ddim"),
    ],
)
def test_values_out_of_range_are_named(shop: Studio, field: str, value: Any) -> None:
    answer = shop.api.post("/generate", json={"prompt": "书包"} | {field: value})
    assert code_of(answer) == (422, "invalid_request")
    assert fields_of(answer) == {field}


def test_a_request_for_nothing_is_refused(shop: Studio) -> None:
    assert code_of(shop.api.post("/generate", json={"style": "main"})) == (422, "invalid_request")
    answer = shop.api.post("/generate", json={"product_id": 99_999})
    assert code_of(answer) == (404, "product_not_found")


def test_a_prompt_is_built_of_a_product(shop: Studio) -> None:
    product = create(
        shop.api, title="红色双肩包", category="箱包", attributes={"容量": "25L", "防水": True}
    )
    found = shop.made(product_id=product["product_id"], prompt="放在桌子上")
    assert found["prompt"] == "红色双肩包，放在桌子上，箱包，容量25L"
    assert found["request"]["product_id"] == product["product_id"]


def test_without_the_model_nothing_is_queued_and_the_command_is_named(
    open_settings: Callable[[], Settings], pipeline: Path
) -> None:
    folder = open_settings().data_dir / "model"
    with studio(open_settings().model_copy(update={"generation_dir": folder})) as bare:
        answer = bare.api.post("/generate", json={"prompt": "书包"})
        assert code_of(answer) == (503, "generation_model_missing")
        assert "manage download-models --generation" in answer.json()["message"]
        assert bare.api.get("/generate").json() == {"items": [], "next_before": None}
        folder.symlink_to(pipeline)  # it comes while the service runs
        bare.made()


def test_a_model_that_is_damaged_fails_its_generations(
    open_settings: Callable[[], Settings], tmp_path: Path
) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "ZImagePipeline"}')
    with studio(open_settings().model_copy(update={"generation_dir": tmp_path})) as broken:
        found = broken.ended(broken.ask())
    assert found["state"] == "failed"
    assert "无法加载" in found["error"]


def test_an_idle_model_is_unloaded_and_comes_again(with_model: Open) -> None:
    with studio(with_model(generation_idle_s=0.05)) as idle:
        idle.made()
        until(lambda: idle.generator.unloaded, "the unloading")
        assert idle.made()["state"] == "done"


@pytest.mark.parametrize(("curve", "fits"), [(SURE, True), (UNSURE, False), (None, None)])
def test_images_below_the_line_are_no_match(
    with_model: Open, curve: dict[str, Any] | None, fits: bool | None
) -> None:
    with calibrated(with_model(), pairs=curve) as api:
        found = Images(api).made(n=2)
    assert [one["fits"] for one in found["pictures"]] == [fits, fits]
    assert found["no_match"] is (fits is False)


def claimed(shop: Studio) -> RunClaim:
    """The oldest generation, for the test to carry out in the place of the service's loop."""
    taken = resources(shop.api).database.write(queue.claim, [RunKind.generate], LEASE)
    assert taken is not None
    return taken


def carried_out(shop: Studio, taken: RunClaim, stopping: threading.Event) -> RunState:
    held = resources(shop.api)
    unloader = IdleUnloader(shop.generator, idle_s=300)
    tools = GenerationHandler(held.generations, unloader, held.search, with_label=True)
    try:
        return execute(RunContext(held.database, taken, stopping), tools.handle)
    finally:
        unloader.close()


def test_a_service_that_stops_leaves_its_generation_to_begin_anew(with_model: Open) -> None:
    with studio(with_model(generation_in_process=False)) as shop:
        asked = shop.ask()
        stopping = threading.Event()
        stopping.set()
        with pytest.raises(RunInterrupted):
            carried_out(shop, claimed(shop), stopping)
        assert (shop.state(asked)["state"], shop.state(asked)["step"]) == ("running", 0)
        assert carried_out(shop, claimed(shop), threading.Event()) is RunState.done
        assert len(shop.state(asked)["pictures"]) == 1
