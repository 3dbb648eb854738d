"""`manage keys`: the keys of the API, and the secret by which addresses of pictures are signed."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from orm_models import ApiKey
from product_search.access import addresses, keys
from product_search.bootstrap.stores import open_database
from product_search.context import Scope
from product_search.settings import Settings

log = logging.getLogger(__name__)


def create(
    settings: Settings, name: str, scope: Scope, origins: Sequence[str], days: int | None
) -> int:
    """Make a key, and write it to standard output alone."""
    expires_at = None if days is None else _in_days(days)
    with open_database(settings) as database:
        key = database.write(keys.create_key, name, scope, origins, expires_at)
    log.info("密钥 %s（%s）：只显示这一次，请收好", key.key_id, name)
    if not settings.require_keys:
        log.info("服务现在不要求密钥：要求它，设 PRODUCT_SEARCH_REQUIRE_KEYS=true")
    sys.stdout.write(key.text + "\n")
    return 0


def _in_days(days: int) -> datetime:
    try:
        return datetime.now(UTC) + timedelta(days=days)
    except OverflowError:
        raise keys.KeyRefused("--days 过大：不写它，密钥就不会自己失效") from None


def show(settings: Settings, *, as_json: bool) -> int:
    """Write all keys to standard output."""
    with open_database(settings) as database:
        found = database.read(keys.list_keys)
    for key in found:
        sys.stdout.write((_as_json(key) if as_json else _as_line(key)) + "\n")
    if not found:
        log.info("还没有密钥")
    return 0


def revoke(settings: Settings, key_id: str) -> int:
    """Revoke a key."""
    with open_database(settings) as database:
        key = database.write(keys.revoke_key, key_id)
    log.info("已撤销：%s（%s）", key.key_id, key.name)
    return 0


def rotate_signing(settings: Settings, *, at_once: bool) -> int:
    """Sign addresses of pictures by a new secret."""
    with open_database(settings) as database:
        database.write(addresses.rotate_secret, at_once=at_once)
    log.info("图片的地址从现在起用新的秘密签名")
    return 0


def _as_line(key: ApiKey) -> str:
    parts = [key.key_id, key.scope, _state(key), f"{key.created_at:%Y-%m-%d} 制作"]
    parts.append("从未使用" if key.last_used_at is None else f"{key.last_used_at:%F %H:%M} 用过")
    return "  ".join([*parts, key.name, *key.origins])


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return f"{key.revoked_at:%Y-%m-%d} 撤销"
    if key.expires_at is None:
        return "有效"
    is_over = key.expires_at <= datetime.now(UTC)
    return f"{key.expires_at:%Y-%m-%d} {'失效' if is_over else '到期'}"


def _as_json(key: ApiKey) -> str:
    columns = ("key_id", "name", "scope", "origins")
    moments = ("created_at", "expires_at", "revoked_at", "last_used_at")
    found = {name: getattr(key, name) for name in (*columns, *moments)}
    return json.dumps(found, ensure_ascii=False, default=str)
