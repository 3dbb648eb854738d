# make demo: everything set up and running. make test: the tests. See README.md.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-stack faults storm fuzz schemathesis check serve web openapi translations calibration evaluation bench bench-growth hostile licences sbom

demo: .venv/runtime
	@data=$$($(BIN)/python -c 'from product_search.settings import Settings; print(Settings().data_dir)'); \
	test -e "$$data/sample-imported" || { \
		echo "导入样例商品（首次，约一分钟）…"; \
		$(BIN)/python -m product_search.manage import sample_data/catalog.csv && \
		touch "$$data/sample-imported"; }
	@bash deploy/demo.sh

# Three processes, each with whole files: much of a test is waiting for servers to start and stop.
test: .venv/dev
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# Each process killed at each step so many times, each store down for 30 s.
faults: .venv/dev
	PRODUCT_SEARCH_TEST_ROUNDS=$(or $(ROUNDS),20) PRODUCT_SEARCH_TEST_OUTAGE_S=30 \
		$(BIN)/python -m pytest tests/faults

# What strangers may send, drawn anew for so many seconds.
fuzz: .venv/dev
	PRODUCT_SEARCH_TEST_FUZZ_SECONDS=$(or $(SECONDS),600) $(BIN)/python -m pytest tests/fuzz

# Requests drawn from openapi.json, so many of them.
schemathesis: .venv/dev
	PRODUCT_SEARCH_TEST_EXAMPLES=$(or $(EXAMPLES),10000) $(BIN)/python -m pytest tests/api/test_schemathesis.py -s

# Clients of all kinds for so long, a fault every 20 s, the clock set back once, on both backends.
storm: .venv/dev
	PRODUCT_SEARCH_TEST_STORM_MINUTES=$(or $(MINUTES),30) $(BIN)/python -m pytest tests/faults/test_storm.py

# The suites of the stores against running ones, such as those of docker-compose.yml: docs/deployment.md.
test-stack: .venv/dev
	@for name in DATABASE_URL MILVUS_URI KAFKA; do \
		test -n "$$(printenv PRODUCT_SEARCH_TEST_$$name)" || { missing=yes; \
			echo "make test-stack: PRODUCT_SEARCH_TEST_$$name is not set (docs/deployment.md has an example)"; }; \
	done; test -z "$$missing"
	$(BIN)/python -m pytest tests/contract tests/faults

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

serve: .venv/runtime
	$(BIN)/fastapi run main.py --host 127.0.0.1 --port 8000

web: .venv/runtime
	$(BIN)/streamlit run web_demo.py --server.port=6006

# models/calibration, of the int8 pair and of the float one, fitted on the sample catalogue's tuning halves
# and the shops that are not sealed; PHOTOS holds ../shared's photos.
PHOTOS ?= ../shared/data
calibration: .venv/dev
	$(BIN)/python -m product_search.evaluation.calibrate --photos $(PHOTOS) --out models/calibration
	@bge=$$(mktemp -d) && cp -r models/bge-small-zh-v1.5/. $$bge && touch $$bge/FLOAT_ONLY && \
		PRODUCT_SEARCH_BGE_DIR=$$bge $(BIN)/python -m product_search.evaluation.calibrate \
			--photos $(PHOTOS) --out models/calibration; rm -rf $$bge

# docs/evaluation.md, its plots and figures; SEALED=1 reports the sealed shop too.
evaluation: .venv/dev
	$(BIN)/python -m product_search.evaluation.full --photos $(PHOTOS) $(if $(SEALED),--sealed)

# docs/benchmarks.md and its figures; ROUNDS=1 SECONDS=5 is a quick run, BEFORE another commit to compare with.
bench: .venv/dev
	$(BIN)/python -m benchmarks.serving --rounds $(or $(ROUNDS),3) --seconds $(or $(SECONDS),8) \
		$(if $(BEFORE),--before $(BEFORE))

# docs/hostile.md and its figures; ROWS=name,name measures some of its rows, BEFORE another commit too.
hostile: .venv/dev
	$(BIN)/python -m benchmarks.hostile $(if $(ROWS),--rows $(ROWS)) $(if $(BEFORE),--before $(BEFORE))

bench-growth: .venv/dev
	$(BIN)/python -m benchmarks.growth

openapi: .venv/dev
	$(BIN)/python -c 'import json; from main import app; \
		print(json.dumps(app.openapi(), ensure_ascii=False, indent=2, sort_keys=True))' > openapi.json

# The pages' English, compiled after a change of demo.po.
translations: .venv/dev
	$(BIN)/pybabel compile --domain demo --directory product_search/demo/locale

# docs/licences.md, of what is installed.
licences: .venv/dev
	$(BIN)/python -m deploy.licences

# sbom.json, what the service consists of, in CycloneDX.
sbom: .venv/dev
	$(BIN)/python -m deploy.sbom

.venv/runtime: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/dev: .venv/runtime requirements-dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-dev.txt
	@touch $@
