"""Typed HTTP client of the API."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import IO, Any
from urllib.parse import urlencode

import httpx
from pydantic import ValidationError

from data_models import (
    AuditPage,
    AuditQuery,
    AuditRun,
    Caller,
    CatalogMap,
    ChangesPage,
    ChangesQuery,
    DoctorRun,
    DriftReport,
    DuplicateRun,
    DuplicatesPage,
    DuplicatesQuery,
    ErrorBody,
    GenerationAccepted,
    GenerationOut,
    GenerationPage,
    GenerationQuery,
    Health,
    ImportAccepted,
    ImportStatus,
    MapComputing,
    MapField,
    MatchResponse,
    PageQuery,
    PictureOfGeneration,
    ProductCreated,
    ProductListQuery,
    ProductOut,
    ProductPage,
    RunsPage,
    SearchResponse,
    SuggestQuery,
    SuggestResponse,
    TitlesResponse,
)

TIMEOUT = httpx.Timeout(60.0, connect=5.0)


class ApiError(Exception):
    """Error answer of the API: its HTTP status, and its body with code and message."""

    def __init__(self, status: int, body: ErrorBody) -> None:
        """Take the answer's status and body; the body's message is the error's text."""
        super().__init__(body.message)
        self.status = status
        self.body = body


class ApiUnreachable(Exception):
    """A request without an answer: the API is down, starting, or at another address."""


class ApiClient:
    """Connection pool to one API; safe to share between threads.

    A method is named after its route's operation.

    Raises:
        ApiError: by every method that sends a request, where the API answers with an error.
        ApiUnreachable: by the same methods, where there is no answer.
        pydantic.ValidationError: by the same methods, where the answer is not of the API's shape.
    """

    def __init__(
        self, base_url: str, public_url: str | None = None, key: str | None = None
    ) -> None:
        """Open the pool; nothing is sent yet.

        Args:
            base_url: Where this process reaches the API.
            public_url: Where a browser reaches it; `base_url` by default.
            key: Shown with each request, where the API requires one.
        """
        self.base_url = base_url.rstrip("/")
        self._public_url = (public_url or base_url).rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=self.base_url, timeout=TIMEOUT, headers=headers)

    def get_health(self) -> Health:
        """Return the state of the service; a state of `down` is returned too, not raised."""
        response = self._send("GET", "/health", accepted=(200, 503))
        return Health.model_validate_json(response.content)

    def get_caller(self) -> Caller:
        """Return who the service takes this client for, by its key."""
        return Caller.model_validate_json(self._send("GET", "/system/me").content)

    def search(self, values: Mapping[str, Any], image: bytes | None = None) -> SearchResponse:
        """Search by the fields of `POST /search`; fields whose value is None are not sent."""
        body = {name: value for name, value in values.items() if value is not None}
        response = self._send("POST", "/search", json=_with_image(body, image))
        return SearchResponse.model_validate_json(response.content)

    def suggest(self, query: SuggestQuery) -> SuggestResponse:
        """Return how what was typed so far may go on."""
        response = self._send("GET", "/suggest", params=query.model_dump())
        return SuggestResponse.model_validate_json(response.content)

    def match(self, values: Mapping[str, Any]) -> MatchResponse:
        """Judge an image with texts, or a text with images, by the fields of `POST /match`."""
        response = self._send("POST", "/match", json=dict(values))
        return MatchResponse.model_validate_json(response.content)

    def suggest_titles(
        self, image: bytes | None = None, product_id: int | None = None, top_k: int = 5
    ) -> TitlesResponse:
        """Suggest titles for the image, or for the product's image; exactly one is given."""
        values: dict[str, Any] = {"top_k": top_k}
        if product_id is not None:
            values["product_id"] = product_id
        response = self._send("POST", "/product/titles", json=_with_image(values, image))
        return TitlesResponse.model_validate_json(response.content)

    def get_duplicates(self, query: DuplicatesQuery) -> DuplicatesPage:
        """Return a page of the groups that the last search for duplicates found."""
        response = self._send("GET", "/product/duplicates", params=query.model_dump())
        return DuplicatesPage.model_validate_json(response.content)

    def find_duplicates(self) -> DuplicateRun:
        """Enqueue a search for duplicates."""
        return DuplicateRun.model_validate_json(self._send("POST", "/product/duplicates").content)

    def get_audit(self, query: AuditQuery) -> AuditPage:
        """Return a page of the products whose image and title disagree by the last audit."""
        response = self._send("GET", "/product/audit", params=query.model_dump())
        return AuditPage.model_validate_json(response.content)

    def start_audit(self) -> AuditRun:
        """Enqueue an audit."""
        return AuditRun.model_validate_json(self._send("POST", "/product/audit").content)

    def get_map(self, field: MapField) -> CatalogMap | MapComputing:
        """Return the catalog in two dimensions, or the notice that it is being computed."""
        response = self._send("GET", "/product/map", params={"field": field.value})
        model = MapComputing if response.status_code == 202 else CatalogMap
        return model.model_validate_json(response.content)

    def generate(self, values: Mapping[str, Any]) -> GenerationAccepted:
        """Enqueue a generation of images by the fields of `POST /generate`."""
        response = self._send("POST", "/generate", json=dict(values))
        return GenerationAccepted.model_validate_json(response.content)

    def get_generation(self, generation_id: int) -> GenerationOut:
        """Return a generation: its progress, and its images once it is done."""
        response = self._send("GET", f"/generate/{generation_id}")
        return GenerationOut.model_validate_json(response.content)

    def list_generations(self, query: GenerationQuery) -> GenerationPage:
        """Return a page of generations, the newest first."""
        response = self._send("GET", "/generate", params=query.model_dump(exclude_none=True))
        return GenerationPage.model_validate_json(response.content)

    def cancel_generation(self, generation_id: int) -> None:
        """Cancel a generation that is queued or running."""
        self._send("DELETE", f"/generate/{generation_id}")

    def get_generated_image(self, image: PictureOfGeneration) -> bytes:
        """Return the file of a generated image."""
        return self._send("GET", _generated_path(image)).content

    def start_import(self, name: str, content: bytes | IO[bytes]) -> ImportAccepted:
        """Enqueue the import of a file: CSV, JSON Lines, or a ZIP with one of these and images."""
        response = self._send("POST", "/product/import", files={"file": (name, content)})
        return ImportAccepted.model_validate_json(response.content)

    def get_import(self, import_id: int, after: int = 0, limit: int = 100) -> ImportStatus:
        """Return the progress of an import and a page of its bad rows: those after line `after`."""
        parameters = {"after": after, "limit": limit}
        response = self._send("GET", f"/product/import/{import_id}", params=parameters)
        return ImportStatus.model_validate_json(response.content)

    def cancel_import(self, import_id: int) -> None:
        """Cancel an import that is queued or running; what it has written stays."""
        self._send("DELETE", f"/product/import/{import_id}")

    def get_drift(self) -> DriftReport:
        """Return the drift that the last check found."""
        return DriftReport.model_validate_json(self._send("GET", "/system/drift").content)

    def check_drift(self) -> DoctorRun:
        """Enqueue a check for drift."""
        return DoctorRun.model_validate_json(self._send("POST", "/system/drift").content)

    def repair_drift(self) -> DoctorRun:
        """Enqueue a check for drift that repairs what it finds."""
        return DoctorRun.model_validate_json(self._send("POST", "/system/repair").content)

    def list_runs(self, query: PageQuery) -> RunsPage:
        """Return a page of the runs of every kind, the newest first."""
        response = self._send("GET", "/system/runs", params=query.model_dump())
        return RunsPage.model_validate_json(response.content)

    def list_changes(self, query: ChangesQuery) -> ChangesPage:
        """Return a page of the log of changes, the newest first."""
        parameters = query.model_dump(mode="json", exclude_none=True)
        response = self._send("GET", "/system/changes", params=parameters)
        return ChangesPage.model_validate_json(response.content)

    def list_products(self, query: ProductListQuery) -> ProductPage:
        """Return a page of the catalog."""
        parameters = query.model_dump(mode="json", exclude_unset=True, exclude_none=True)
        response = self._send("GET", "/product/list", params=parameters)
        return ProductPage.model_validate_json(response.content)

    def get_product(self, product_id: int) -> ProductOut:
        """Return a product."""
        return _read_product(self._send("GET", f"/product/{product_id}"))

    def create_product(
        self, fields: Mapping[str, Any], image: bytes | None = None, *, wait: bool = False
    ) -> ProductCreated:
        """Create a product; with `wait`, return once it is indexed."""
        body = _with_image(fields, image)
        response = self._send("POST", "/product", params=_wait_parameter(wait), json=body)
        return ProductCreated.model_validate_json(response.content)

    def update_product(
        self,
        product_id: int,
        changes: Mapping[str, Any],
        image: bytes | None = None,
        *,
        wait: bool = False,
    ) -> ProductOut:
        """Change fields, and the image if given; with `wait`, return once it is indexed."""
        body = _with_image(changes, image)
        path = f"/product/{product_id}"
        return _read_product(self._send("PATCH", path, params=_wait_parameter(wait), json=body))

    def delete_product(self, product_id: int) -> None:
        """Delete a product."""
        self._send("DELETE", f"/product/{product_id}")

    def image_url(self, product: ProductOut, size: int) -> str | None:
        """Return the public address of the product's thumbnail; None without an image.

        The address changes with the product, so that a browser doesn't show yesterday's image.
        """
        if product.image_url is None:
            return None
        return self.public_url(product.image_url, size=size, revision=product.revision)

    def public_url(self, path: str, **parameters: int) -> str:
        """Return where a browser reaches what the API calls this, with these parameters more.

        `path` is as an answer gives it: it may have a signature, without which it is good for
        nothing where keys are required.
        """
        sign = "&" if "?" in path else "?"
        return f"{self._public_url}{path}{sign}{urlencode(parameters)}"

    def preview_url(self, generation: GenerationOut) -> str | None:
        """Return the public address of a generation's preview; None before the first.

        The address changes with each step, so that a browser doesn't show the preview before.
        """
        if generation.preview_url is None:
            return None
        return self.public_url(generation.preview_url, step=generation.step)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _send(
        self, method: str, path: str, accepted: tuple[int, ...] = (), **options: Any
    ) -> httpx.Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise ApiUnreachable(f"{self.base_url}: {error}") from error
        if response.is_success or response.status_code in accepted:
            return response
        raise ApiError(response.status_code, _error_body(response))


def _error_body(response: httpx.Response) -> ErrorBody:
    try:
        return ErrorBody.model_validate_json(response.content)
    except ValidationError:  # not our API's answer: a proxy's page, for instance
        return ErrorBody(code="http_error", message=f"HTTP {response.status_code}", fields=None)


def _with_image(values: Mapping[str, Any], image: bytes | None) -> dict[str, Any]:
    body = dict(values)
    if image is not None:
        body["image_base64"] = base64.b64encode(image).decode("ascii")
    return body


def _generated_path(image: PictureOfGeneration) -> str:
    return f"/generate/{image.generation_id}/image/{image.number}"


def _wait_parameter(wait: bool) -> dict[str, str]:
    return {"wait": "true"} if wait else {}


def _read_product(response: httpx.Response) -> ProductOut:
    return ProductOut.model_validate_json(response.content)
