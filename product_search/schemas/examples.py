"""The examples of requests and answers that OpenAPI shows."""

from __future__ import annotations

from typing import Any

Example = dict[str, Any]

PRODUCT: Example = {
    "sku": "DEMO-0001",
    "title": "红色双肩包 大容量学生书包 15.6 英寸",
    "description": "防泼水面料，可放 15.6 英寸笔记本电脑。",
    "category": "箱包",
    "brand": "拾光",
    "price": "129.00",
    "attributes": {"颜色": "红", "容量": "25L"},
}
CHANGE: Example = {"price": 99.9, "description": None}
PHOTO = "photo.jpg"  # in the example of a form: the file that is chosen
PRODUCT_FORM: Example = PRODUCT | {
    "sku": "DEMO-0002",
    "attributes": '{"颜色": "红", "容量": "25L"}',
    "image": PHOTO,
}
CHANGE_FORM: Example = {"price": "99.90", "image": PHOTO}
SHOWN_PRODUCT: Example = PRODUCT | {
    "product_id": 1,
    "group": None,
    "image_url": "/product/1/image",
    "image_generated": False,
    "milvus_id": "911803122085107501",
    "revision": 1,
    "index_status": "indexed",
    "index_error": None,
    "created_at": "2026-01-01T08:00:00.000001Z",
    "updated_at": "2026-01-01T08:00:00.000001Z",
}
CREATED_PRODUCT: Example = SHOWN_PRODUCT | {"duplicates": []}
PAGE: Example = {"items": [SHOWN_PRODUCT], "total": 1, "page": 1, "page_size": 20}
SEARCHES: list[Any] = [
    {"text": "露营要带的", "top_k": 5},
    {
        "text": "学生用的书包",
        "filters": {
            "category": ["箱包"],
            "price": {"lte": 200},
            "attributes": {"颜色": ["红", "蓝"]},
            "has_image": True,
            "created_at": {"gte": "2026-01-01T00:00:00+08:00"},
        },
        "facets": True,
        "explain": True,
    },
    {"text": "300元以内的双肩包", "understand": {"negation": False}},
    {"text": "双肩包", "sort": "price_asc", "legs": {"text_to_image": 0}, "min_confidence": 0.3},
    {
        "parts": [
            {"text": "双肩包"},
            {"text": "户外", "weight": 0.5},
            {"text": "红色", "weight": -1},
        ]
    },
    {"mode": "text_to_image", "text": "雨伞", "top_k": 5},
    {"mode": "text_to_text", "text": "下雨天用的", "offset": 5, "top_k": 5},
    {"mode": "image_to_image", "product_id": 1},
    {"mode": "image_to_text", "product_id": 1, "region": [40, 40, 170, 170]},
    {"generation": {"generation_id": 12, "number": 2}},
]
SEARCH_FORM: Example = {
    "text": "红色",
    "image": PHOTO,
    "top_k": 5,
    "filters": '{"price": {"lte": 500}}',
}
SEARCH_ANSWER: Example = {
    "mode": "hybrid",
    "corrected_query": None,
    "did_you_mean": None,
    "interpreted": [
        {
            "kind": "price",
            "text": "300元以内",
            "meaning": {"price": {"gte": None, "lte": "300.00"}},
        }
    ],
    "hits": [
        {
            "rank": 1,
            "score": 0.333333,
            "confidence": 0.93,
            "matched_field": "text_bm25_vector",
            "product": SHOWN_PRODUCT,
            "more_in_group": 0,
            "explain": None,
        }
    ],
    "total": 1,
    "total_is_exact": True,
    "next_cursor": None,
    "no_match": False,
    "near_misses": [],
    "min_confidence": 0.04,
    "facets": None,
    "total_without_filters": None,
    "encoder": "starter",
    "dropped": 0,
    "took_ms": {
        "decode": 0.3,
        "wait": 2.1,
        "encode": 4.2,
        "recall": 4.1,
        "fuse": 0.6,
        "hydrate": 0.9,
        "total": 12.2,
    },
}
BATCH: Example = {"queries": [{"text": "雨伞", "top_k": 3}, {"text": "书包", "min_confidence": 0}]}
BATCH_ANSWER: Example = {
    "results": [
        SEARCH_ANSWER,
        {"code": "product_not_found", "message": "商品 9 不存在"},
    ]
}
RERANK: Example = {"product_ids": [3, 1, 2], "text": "雨伞"}
RERANK_FORM: Example = {"product_ids": "[3, 1, 2]", "text": "红色", "image": PHOTO}
RERANK_ANSWER: Example = {
    "hits": SEARCH_ANSWER["hits"],
    "total": 1,
    "missing": [3, 2],
    "corrected_query": None,
    "encoder": "starter",
    "took_ms": SEARCH_ANSWER["took_ms"],
}
MATCHES: list[Any] = [
    {"image": {"product_id": 1}, "texts": [{"text": "红色双肩包"}, {"text": "雨伞"}]},
    {"text": {"product_id": 1}, "images": [{"product_id": 1}]},
]
MATCH_ANSWER: Example = {
    "pairs": [
        {"score": 0.61, "confidence": 0.93, "verdict": "match", "label": "图文相符"},
        {"score": 0.04, "confidence": 0.02, "verdict": "mismatch", "label": "图文不符"},
    ],
    "encoder": "starter",
}
TITLES: Example = {"product_id": 18, "top_k": 3}
TITLES_FORM: Example = {"image": PHOTO, "top_k": 3}
TITLES_ANSWER: Example = {
    "titles": [
        {"title": "蓝色双肩包 旅行背包", "product_id": 2, "score": 0.52, "confidence": 0.91},
        {"title": "绿色双肩包 户外", "product_id": 7, "score": 0.5, "confidence": 0.88},
    ],
    "no_match": False,
    "suggestion": {
        "title": "双肩包",
        "category": "箱包",
        "attributes": {},
        "words": ["双肩包"],
    },
    "encoder": "starter",
    "took_ms": SEARCH_ANSWER["took_ms"],
}
ALIVE: Example = {"status": "ok"}
READY: Example = {"status": "ok", "reasons": []}
HEALTH: Example = {
    "status": "ok",
    "reasons": [],
    "warnings": [],
    "database": "ok",
    "vector_store": "ok",
    "storage": "ok",
    "kafka": None,
    "encoders": {
        "name": "starter",
        "fingerprint": "529993121792",
        "device": "cpu",
        "hint": None,
    },
    "outbox": {"pending": 0, "retrying": 0, "failed": 0},
    "drift": {"total": 0, "at": "2026-01-01T08:00:00.000001Z"},
}
GENERATE: list[Any] = [
    {"prompt": "红色双肩包，学生用", "style": "main", "n": 2, "seed": 7},
    {"product_id": 1, "style": "scene", "negative_prompt": "人物", "width": 768, "height": 512},
]
GENERATION_ACCEPTED: Example = {
    "generation_id": 12,
    "state": "queued",
    "status_url": "/generate/12",
}
GENERATION: Example = {
    "generation_id": 12,
    "state": "done",
    "error": None,
    "prompt": "红色双肩包，学生用，"
    "电商白底主图，单件商品居中，纯白背景，柔和均匀的影棚光，清晰对焦",
    "request": {
        "prompt": "红色双肩包，学生用",
        "product_id": None,
        "negative_prompt": None,
        "style": "main",
        "width": 512,
        "height": 512,
        "steps": 8,
        "guidance": 0.0,
        "seed": 7,
        "n": 2,
    },
    "model": "Tongyi-MAI/Z-Image-Turbo",
    "step": 16,
    "steps": 16,
    "preview_url": None,
    "pictures": [
        {
            "number": 2,
            "image_url": "/generate/12/image/2",
            "seed": 8,
            "score": 0.58,
            "confidence": 0.91,
            "fits": True,
        },
        {
            "number": 1,
            "image_url": "/generate/12/image/1",
            "seed": 7,
            "score": 0.41,
            "confidence": 0.32,
            "fits": True,
        },
    ],
    "no_match": False,
    "created_at": "2026-01-01T08:00:00.000001Z",
    "finished_at": "2026-01-01T08:00:09.500001Z",
}
GENERATIONS: Example = {"items": [GENERATION], "next_before": None}
IMPORT_ACCEPTED: Example = {
    "import_id": 1,
    "state": "queued",
    "status_url": "/product/import/1",
}
IMPORT_STATUS: Example = {
    "import_id": 1,
    "state": "running",
    "file": "products.zip",
    "rows_total": 12000,
    "rows_done": 5000,
    "created": 4990,
    "updated": 6,
    "unchanged": 3,
    "bad": 1,
    "warned": 0,
    "error": None,
    "created_at": "2026-01-01T08:00:00.000001Z",
    "started_at": "2026-01-01T08:00:00.100001Z",
    "finished_at": None,
    "bad_rows": [{"line": 17, "reason": "price：应为不小于 0 的十进制数"}],
    "warnings": [],
    "next_after": None,
}
_NO_DRIFT = {
    "missing": 0,
    "orphaned": 0,
    "stale_revision": 0,
    "wrong_encoder": 0,
    "unqueued": 0,
    "missing_picture": 0,
    "orphaned_picture": 0,
}
DRIFT: Example = {
    "last": {
        "run_id": 3,
        "repair": True,
        "started_at": "2026-01-01T08:00:00.000001Z",
        "finished_at": "2026-01-01T08:00:01.500001Z",
        "seconds": 1.5,
        "products": 298,
        "entities": 297,
        "pictures": 280,
        "failed": 0,
        "found": _NO_DRIFT | {"missing": 1, "missing_picture": 1},
        "repaired": _NO_DRIFT | {"missing": 1},
        "left": 1,
        "examples": [
            {"kind": "missing", "subject": "7", "reason": "商品为 indexed，Milvus 中没有它的向量"},
            {"kind": "missing_picture", "subject": "9", "reason": "图片文件不存在"},
        ],
    },
    "newest": {"run_id": 3, "state": "done", "repair": True, "error": None},
}
QUEUED_RUN: Example = {"run_id": 4, "state": "queued", "repair": False, "error": None}
QUEUED_DUPLICATES: Example = {
    "run_id": 6,
    "state": "queued",
    "error": None,
    "finished_at": None,
    "products": 0,
    "groups": 0,
}
_FOUND_DUPLICATES = QUEUED_DUPLICATES | {
    "run_id": 5,
    "state": "done",
    "finished_at": "2026-01-01T08:00:01.500001Z",
    "products": 298,
    "groups": 1,
}
DUPLICATES: Example = {
    "last": _FOUND_DUPLICATES,
    "newest": _FOUND_DUPLICATES,
    "groups": [
        {
            "product_ids": [3, 17],
            "size": 2,
            "pairs": [
                {"product_ids": [3, 17], "why": "perceptual_hash", "similarity": 0.9688},
            ],
        }
    ],
    "next_after": None,
}
QUEUED_AUDIT: Example = {
    "run_id": 8,
    "state": "queued",
    "error": None,
    "finished_at": None,
    "checked": 0,
    "skipped": 0,
    "mismatched": 0,
}
_AUDITED = QUEUED_AUDIT | {
    "run_id": 7,
    "state": "done",
    "finished_at": "2026-01-01T08:00:01.500001Z",
    "checked": 276,
    "skipped": 2,
    "mismatched": 44,
}
AUDIT: Example = {
    "last": _AUDITED,
    "newest": _AUDITED,
    "items": [
        {
            "product_id": 5,
            "title": "红色双肩包",
            "image_url": "/product/5/image",
            "image_generated": False,
            "score": 0.0412,
            "confidence": 0.0008,
            "verdict": "mismatch",
            "label": "图文不符",
            "standing": -0.2133,
        }
    ],
    "next_after": 12,
}
_POINT = {"product_id": 5, "x": -0.3127, "y": 0.1405, "category": "箱包", "image_url": None}
MAP: Example = {
    "field": "image_clip_vector",
    "collection": "product_v3_a34d462c0503",
    "computed_at": "2026-01-01T08:00:01.500001Z",
    "stale": False,
    "explained_variance": [0.1721, 0.0934],
    "total": 276,
    "shown": 1,
    "points": [_POINT],
}
MAP_COMPUTING: Example = {"state": "computing", "error": None}
RUNS: Example = {
    "items": [
        {
            "run_id": 9,
            "kind": "import",
            "state": "running",
            "subject": "products.zip",
            "done": 5000,
            "total": 12000,
            "error": None,
            "created_at": "2026-01-01T08:00:00.000001Z",
            "started_at": "2026-01-01T08:00:00.100001Z",
            "finished_at": None,
        },
        {
            "run_id": 3,
            "kind": "doctor",
            "state": "done",
            "subject": "repair",
            "done": 298,
            "total": None,
            "error": None,
            "created_at": "2026-01-01T07:00:00.000001Z",
            "started_at": "2026-01-01T07:00:00.100001Z",
            "finished_at": "2026-01-01T07:00:01.600001Z",
        },
    ],
    "next_after": None,
}
SUGGESTIONS: Example = {
    "suggestions": [
        {"text": "蓝牙耳机", "kind": "query", "products": 8},
        {"text": "蓝牙音箱", "kind": "title", "products": 3},
    ]
}
