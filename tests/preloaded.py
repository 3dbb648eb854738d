"""What a forked process would otherwise import or work out by itself; see tests/servers.py."""

import gc
import sqlite3 as sqlite3
import warnings

import pymysql as pymysql
import uvicorn as uvicorn
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

import main as main
import product_search.manage
import product_search.worker as worker

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # milvus-lite imports the deprecated pkg_resources
    import milvus_lite.server

# A thousand regular expressions, at the first model that is loaded. No model is loaded here: the
# threads that torch then starts would not survive the fork.
get_checkpoint_conversion_mapping("bert")
# No forked process looks through all this for garbage, which would also copy it.
gc.freeze()

__all__ = ["main", "milvus_lite", "product_search", "worker"]
