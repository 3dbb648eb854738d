"""Errors of callers that are not let in; each code belongs to errors.py's family."""

from __future__ import annotations

from product_search.errors import AppError


class KeyRequired(AppError):
    """The service asks for a key, and the request brings none."""

    code = "key_required"
    status = 401
    example = "需要密钥：请以 Authorization: Bearer … 发送"


class KeyInvalid(AppError):
    """The key is unknown, revoked or expired; or the signature of a picture's address is."""

    code = "key_invalid"
    status = 401
    example = "密钥无效、已撤销或已过期"


class Forbidden(AppError):
    """The key is good, but not for this."""

    code = "forbidden"
    status = 403
    example = "这个密钥的权限是 read，此操作需要 write"
