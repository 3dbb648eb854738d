#!/usr/bin/env bash
# The API and the page, until Ctrl-C or until one of them ends; `make demo` calls it.
set -eu
bin=.venv/bin
api_url=http://127.0.0.1:8000
page_url=http://127.0.0.1:6006

"$bin/fastapi" run main.py --host 127.0.0.1 --port 8000 &
api=$!
"$bin/streamlit" run web_demo.py --server.address=127.0.0.1 --server.port=6006 &
page=$!
trap 'kill $api $page 2>/dev/null || true; wait' EXIT
trap 'exit 0' INT TERM

until "$bin/python" -c "import httpx; httpx.get('$api_url/health/ready').raise_for_status(); httpx.get('$page_url/_stcore/health').raise_for_status()" 2>/dev/null; do
    kill -0 $api && kill -0 $page || { echo "启动失败，原因见上" >&2; exit 1; }
    sleep 1
done
printf '\n  网页  %s\n  接口  %s（文档 %s/docs）\n  Ctrl-C 结束\n\n' "$page_url" "$api_url" "$api_url"
wait -n
