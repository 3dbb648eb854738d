"""What a request asks for, made ready: images decoded and cut, products looked up."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from data_models import PictureOfGeneration, QueryPart, SearchMode, SearchRequest
from orm_models import Database, Product
from product_search.catalog.rows import find_product
from product_search.errors import ProductWithoutImage
from product_search.images.decoding import Region, decode, from_base64
from product_search.images.store import ImageStore
from product_search.runs import generations
from product_search.search.plan import QueryInputs, Weighted
from product_search.text.query import QueryText, analyse, without_negations
from product_search.text.synonyms import Synonyms

Thing = QueryText | Image.Image


@dataclass(frozen=True)
class InputReader:
    """Makes a request's inputs ready."""

    database: Database
    images: ImageStore
    synonyms: Synonyms

    def read(self, request: SearchRequest, content: bytes | None) -> QueryInputs:
        """The texts and images that the request asks for; `content` are its own image's bytes.

        Raises:
            InvalidImage, ImageTooLarge, ImageTooManyPixels: of an image.
            RegionOutsideImage: the region is not wholly within it.
            ProductNotFound, ProductWithoutImage, ImageNotFound: of a product that is an example.
            GenerationNotFound, ImageNotFound: of a generated image.
        """
        things: list[tuple[Thing, float]] = []
        if request.text is not None:
            things += self._of_text(request.text, request.chosen_mode)
        if content is not None:
            things.append((decode(content, request.region), 1.0))
        if request.generation is not None:
            things.append((self._made(request.generation, request.region), 1.0))
        if request.product_id is not None:
            things += [(thing, 1.0) for thing in self._of_product(request, bool(things))]
        unwanted: set[int] = set()
        for part in request.parts or ():
            thing, milvus_id = self._of_part(part)
            things.append((thing, part.weight))
            if part.weight < 0 and milvus_id is not None:
                unwanted.add(milvus_id)
        return QueryInputs(
            texts=[Weighted(one, weight) for one, weight in things if isinstance(one, QueryText)],
            images=[
                Weighted(one, weight) for one, weight in things if isinstance(one, Image.Image)
            ],
            unwanted=frozenset(unwanted),
        )

    def analyse(self, text: str) -> QueryText:
        """The text's words, with the operator's synonyms."""
        return analyse(text, self.synonyms)

    def _of_text(self, text: str, mode: SearchMode) -> list[tuple[Thing, float]]:
        """In hybrid what it says not to want is a part of its own."""
        if mode is not SearchMode.hybrid:
            return [(self.analyse(text), 1.0)]
        wanted, unwanted = without_negations(text)
        return [(self.analyse(wanted), 1.0), *((self.analyse(one), -1.0) for one in unwanted)]

    def _of_product(self, request: SearchRequest, is_beside: bool) -> list[Thing]:
        """In a single mode what it compares; in hybrid the title and the image.

        Beside other things it is an example: its title would ask for what these want otherwise.
        """
        assert request.product_id is not None
        product = self.product(request.product_id)
        mode = request.chosen_mode
        if mode.takes_text:
            return [self.analyse(product.title)]
        is_whole_hybrid = mode is SearchMode.hybrid and request.region is None
        if product.image_hash is None and is_whole_hybrid:
            return [self.analyse(product.title)]
        picture = self.picture(product, request.region)
        is_alone = mode is SearchMode.hybrid and not is_beside and not request.parts
        return [self.analyse(product.title), picture] if is_alone else [picture]

    def _of_part(self, part: QueryPart) -> tuple[Thing, int | None]:
        """What it is, and of a product its milvus_id."""
        if part.text is not None:
            return self.analyse(part.text), None
        if part.image_base64 is not None:
            return decode(from_base64(part.image_base64)), None
        if part.generation is not None:
            return self._made(part.generation), None
        assert part.product_id is not None, "QueryPart has checked that one is given"
        product = self.product(part.product_id)
        if product.image_hash is None:
            return self.analyse(product.title), product.milvus_id
        return self.images.load(product.image_hash), product.milvus_id

    def _made(self, wanted: PictureOfGeneration, region: Region | None = None) -> Image.Image:
        return self.images.load(generations.find_image_hash(self.database, wanted), region)

    def product(self, product_id: int) -> Product:
        """The row. Raises ProductNotFound."""
        return self.database.read(find_product, product_id)

    def picture(self, product: Product, region: Region | None = None) -> Image.Image:
        """The product's image, or the part of it. Raises ProductWithoutImage, ImageNotFound."""
        if product.image_hash is None:
            raise ProductWithoutImage(f"商品 {product.id} 没有图片，不能用作图片查询")
        return self.images.load(product.image_hash, region)
