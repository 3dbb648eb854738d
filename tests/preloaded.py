"""What a forked process would otherwise import or work out by itself; see tests/servers.py."""

from __future__ import annotations

import gc
import importlib
import warnings

from transformers.conversion_mapping import get_checkpoint_conversion_mapping

_DOORS = ("main", "product_search.cli.worker", "product_search.cli.manage", "uvicorn")
_DRIVERS = ("sqlite3", "pymysql", "product_search.milvus.lite_process")
_ENCODERS = ("product_search.encoders.chinese_clip", "product_search.encoders.starter")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # milvus-lite imports the deprecated pkg_resources
    for _name in (*_DOORS, *_DRIVERS, *_ENCODERS):
        importlib.import_module(_name)
# A thousand regular expressions, at the first model that is loaded. No model is loaded here: the
# threads that torch then starts would not survive the fork.
get_checkpoint_conversion_mapping("bert")
# No forked process looks through all this for garbage, which would also copy it.
gc.collect()
gc.freeze()
