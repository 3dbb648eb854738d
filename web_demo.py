"""The demo's pages, and their server.

Started with `streamlit run web_demo.py --server.port=6006`; they need the API, nothing else.
"""

from __future__ import annotations

import streamlit as st
from starlette.middleware import Middleware

from product_search.demo.doors import PageDoors, page_hosts

if __name__ == "__main__":  # a visitor's run; what it caches needs a server that runs
    from product_search.demo import front

    front.show()
else:  # the server, which starts with what this file has
    app = st.App(__file__, middleware=[Middleware(PageDoors, hosts=page_hosts())])
