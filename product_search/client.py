"""Typed HTTP client of the API: what the pages drive it with."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import httpx
from pydantic import ValidationError

from data_models import (
    AuditPage,
    AuditQuery,
    AuditRun,
    CatalogMap,
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
    PictureOfGeneration,
    ProductCreated,
    ProductListQuery,
    ProductOut,
    ProductPage,
    RunsPage,
    SearchResponse,
    SurveyQuery,
    TitlesResponse,
)

TIMEOUT_S = 60.0


class ApiError(Exception):
    """The API answered with an error; `body` is what it said."""

    def __init__(self, status: int, body: ErrorBody) -> None:
        super().__init__(body.message)
        self.status = status
        self.body = body


class ApiUnreachable(Exception):
    """No answer from the API: it is down, starting, or elsewhere."""


class ApiClient:
    """One connection pool to one API; safe to share between threads.

    Every method raises ApiError for an error answer and ApiUnreachable for none.
    """

    def __init__(self, base_url: str, public_url: str | None = None) -> None:
        """`public_url` is where others than this process reach the API; default: `base_url`."""
        self.base_url = base_url.rstrip("/")
        self._public_url = (public_url or base_url).rstrip("/")
        self._http = httpx.Client(base_url=self.base_url, timeout=TIMEOUT_S)

    def health(self) -> Health:
        """The state of the service; `down` comes as an answer too, not as an ApiError."""
        response = self._send("GET", "/health", accepted=(200, 503))
        return Health.model_validate_json(response.content)

    def search(self, values: Mapping[str, Any], image: bytes | None = None) -> SearchResponse:
        """Search: `values` as `POST /search` takes them, those that are None left out."""
        body = {name: value for name, value in values.items() if value is not None}
        response = self._send("POST", "/search", json=_with_image(body, image))
        return SearchResponse.model_validate_json(response.content)

    def match(self, values: Mapping[str, Any]) -> MatchResponse:
        """Whether an image and titles, or a title and images, belong together."""
        response = self._send("POST", "/match", json=dict(values))
        return MatchResponse.model_validate_json(response.content)

    def titles(
        self, image: bytes | None = None, product_id: int | None = None, top_k: int = 5
    ) -> TitlesResponse:
        """Titles for an image, or for that of a product: one of the two is given."""
        values: dict[str, Any] = {"top_k": top_k}
        if product_id is not None:
            values["product_id"] = product_id
        response = self._send("POST", "/product/titles", json=_with_image(values, image))
        return TitlesResponse.model_validate_json(response.content)

    def duplicates(self, query: DuplicatesQuery) -> DuplicatesPage:
        """A page of groups that the last search for duplicates has found."""
        response = self._send("GET", "/product/duplicates", params=query.model_dump())
        return DuplicatesPage.model_validate_json(response.content)

    def find_duplicates(self) -> DuplicateRun:
        """Queue a search for duplicates."""
        return DuplicateRun.model_validate_json(self._send("POST", "/product/duplicates").content)

    def audit(self, query: AuditQuery) -> AuditPage:
        """A page of products whose image and title disagree, by the last audit."""
        response = self._send("GET", "/product/audit", params=query.model_dump())
        return AuditPage.model_validate_json(response.content)

    def start_audit(self) -> AuditRun:
        """Queue an audit."""
        return AuditRun.model_validate_json(self._send("POST", "/product/audit").content)

    def map(self, field: MapField) -> CatalogMap | MapComputing:
        """The catalog in two dimensions, or that it is being computed."""
        response = self._send("GET", "/product/map", params={"field": field.value})
        shape = MapComputing if response.status_code == 202 else CatalogMap
        return shape.model_validate_json(response.content)

    def generate(self, values: Mapping[str, Any]) -> GenerationAccepted:
        """Queue images: `values` as `POST /generate` takes them."""
        response = self._send("POST", "/generate", json=dict(values))
        return GenerationAccepted.model_validate_json(response.content)

    def generation(self, generation_id: int) -> GenerationOut:
        """How far a generation is, and its images once it is done."""
        response = self._send("GET", f"/generate/{generation_id}")
        return GenerationOut.model_validate_json(response.content)

    def generations(self, query: GenerationQuery) -> GenerationPage:
        """A page of generations, the newest first."""
        response = self._send("GET", "/generate", params=query.model_dump(exclude_none=True))
        return GenerationPage.model_validate_json(response.content)

    def cancel_generation(self, generation_id: int) -> None:
        """End a generation that waits or is under way."""
        self._send("DELETE", f"/generate/{generation_id}")

    def generated_image(self, picture: PictureOfGeneration) -> bytes:
        """The file of one generated image."""
        return self._send("GET", _path(picture)).content

    def start_import(self, name: str, content: bytes) -> ImportAccepted:
        """Queue the import of a file: CSV, JSON Lines, or a ZIP of one with its images."""
        response = self._send("POST", "/product/import", files={"file": (name, content)})
        return ImportAccepted.model_validate_json(response.content)

    def import_status(self, import_id: int, after: int = 0, limit: int = 100) -> ImportStatus:
        """How far an import is, and a page of its bad rows."""
        parameters = {"after": after, "limit": limit}
        response = self._send("GET", f"/product/import/{import_id}", params=parameters)
        return ImportStatus.model_validate_json(response.content)

    def drift(self) -> DriftReport:
        """How the two stores differ, by the last walk."""
        return DriftReport.model_validate_json(self._send("GET", "/system/drift").content)

    def check_drift(self, *, repair: bool) -> DoctorRun:
        """Queue a walk through both stores, which mends what it finds if `repair`."""
        path = "/system/repair" if repair else "/system/drift"
        return DoctorRun.model_validate_json(self._send("POST", path).content)

    def runs(self, query: SurveyQuery) -> RunsPage:
        """A page of the long work of every kind, the newest first."""
        response = self._send("GET", "/system/runs", params=query.model_dump())
        return RunsPage.model_validate_json(response.content)

    def products(self, query: ProductListQuery) -> ProductPage:
        """One page of the catalog."""
        parameters = query.model_dump(mode="json", exclude_unset=True, exclude_none=True)
        response = self._send("GET", "/product/list", params=parameters)
        return ProductPage.model_validate_json(response.content)

    def product(self, product_id: int) -> ProductOut:
        """One product."""
        return _product(self._send("GET", f"/product/{product_id}"))

    def create(
        self, fields: Mapping[str, Any], image: bytes | None = None, *, wait: bool = False
    ) -> ProductCreated:
        """Add a product; `wait` returns once it can be found."""
        body = _with_image(fields, image)
        response = self._send("POST", "/product", params=_waiting(wait), json=body)
        return ProductCreated.model_validate_json(response.content)

    def update(
        self,
        product_id: int,
        changes: Mapping[str, Any],
        image: bytes | None = None,
        *,
        wait: bool = False,
    ) -> ProductOut:
        """Change the given fields, and the image where one is given."""
        body = _with_image(changes, image)
        path = f"/product/{product_id}"
        return _product(self._send("PATCH", path, params=_waiting(wait), json=body))

    def delete(self, product_id: int) -> None:
        """Remove a product."""
        self._send("DELETE", f"/product/{product_id}")

    def image_url(self, product: ProductOut, size: int) -> str | None:
        """The public address of the product's thumbnail; None where it has no image.

        It changes with the product, so that a browser doesn't show yesterday's image.
        """
        if product.image_url is None:
            return None
        return f"{self._public_url}{product.image_url}?size={size}&revision={product.revision}"

    def image_url_by_id(self, product_id: int, size: int) -> str:
        """The same where nothing but the product's id is known: nobody answers if it has none."""
        return f"{self._public_url}/product/{product_id}/image?size={size}"

    def generated_url(self, picture: PictureOfGeneration, size: int) -> str:
        """The public address of a generated image's thumbnail."""
        return f"{self._public_url}{_path(picture)}?size={size}"

    def preview_url(self, generation: GenerationOut) -> str | None:
        """The public address of what the generation looks like so far; None where nothing is seen.

        It changes with each step, so that a browser doesn't show the one before.
        """
        if generation.preview_url is None:
            return None
        return f"{self._public_url}{generation.preview_url}?step={generation.step}"

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


def _path(picture: PictureOfGeneration) -> str:
    return f"/generate/{picture.generation_id}/image/{picture.number}"


def _waiting(wait: bool) -> dict[str, str]:
    return {"wait": "true"} if wait else {}


def _product(response: httpx.Response) -> ProductOut:
    return ProductOut.model_validate_json(response.content)
