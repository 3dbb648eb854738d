"""Errors of pictures that are named by URL; each code belongs to errors.py's family.

None tells what a name resolved to: else whoever may ask could look around in the network behind.
"""

from __future__ import annotations

from product_search.errors import AppError


class ImageUrlDisabled(AppError):
    """The service fetches no pictures: a setting that the message names allows it."""

    code = "image_url_disabled"
    status = 422
    example = (
        "服务没有开启按地址取图片：请上传图片，或由管理员设置 PRODUCT_SEARCH_FETCH_IMAGES=true"
    )


class ImageUrlRefused(AppError):
    """The picture's URL, or one that it redirects to, is none that the service asks for."""

    code = "image_url_refused"
    status = 422
    example = "图片地址被拒绝：主机没有公网地址"


class ImageFetchFailed(AppError):
    """The picture's server can't be reached, or does not answer with a whole file."""

    code = "image_fetch_failed"
    status = 424
    example = "没有取到图片：对方的回答是 404"


class ImageFetchTimeout(AppError):
    """The picture's server takes too long."""

    code = "image_fetch_timeout"
    status = 424
    example = "没有取到图片：对方太慢"
