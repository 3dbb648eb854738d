# syntax=docker/dockerfile:1.7
# docker build --target cpu .   or   --target cuda; docs/deployment.md. Models are mounted at /app/models
# and downloaded into /data: no weights are in the image.

FROM python:3.11.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app

FROM base AS packages
RUN python -m venv /opt/packages
ENV PATH=/opt/packages/bin:$PATH
COPY requirements.txt .

FROM packages AS packages-cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN --mount=type=cache,target=/root/.cache/pip pip install --extra-index-url "$TORCH_INDEX" -r requirements.txt

# On Linux, PyPI's PyTorch brings the CUDA libraries; the host brings the driver.
FROM packages AS packages-cuda
RUN --mount=type=cache,target=/root/.cache/pip pip install -r requirements.txt

FROM base AS service
RUN useradd --uid 10001 --create-home app && install --directory --owner=app --group=app /data
ENV PATH=/opt/packages/bin:$PATH PRODUCT_SEARCH_DATA_DIR=/data
COPY . .
USER 10001
EXPOSE 8000 6006
CMD ["fastapi", "run", "main.py", "--host", "0.0.0.0", "--port", "8000"]
HEALTHCHECK --start-period=120s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/live', timeout=8)"]

# --link: these large layers stay as they are when the code changes.
FROM service AS cuda
COPY --link --from=packages-cuda /opt/packages /opt/packages

FROM service AS cpu
COPY --link --from=packages-cpu /opt/packages /opt/packages
