"""The one table of scopes: what each operation asks of its caller."""

from __future__ import annotations

from product_search.access.errors import Forbidden
from product_search.context import Principal, Scope

# By the name of its route. An operation that is not here asks for the most.
_OPERATIONS: dict[Scope | None, str] = {
    # Asked by balancers and supervisors, or told to everybody in the repository.
    None: "live ready openapi documentation documentation_file",
    Scope.read: """
        search search_batch suggest rerank match get_similar find_titles
        list_products get_product get_image get_import get_duplicates get_audit get_map
        list_generations get_generation get_generated_image get_preview
        health get_drift get_runs get_metrics get_caller
    """,
    # What changes products, and what occupies the service for long.
    Scope.write: """
        create_product update_product delete_product start_import cancel_import
        generate cancel_generation find_duplicates start_audit
    """,
    Scope.admin: "check_drift repair_drift get_changes",
}
SCOPES = {name: scope for scope, names in _OPERATIONS.items() for name in names.split()}
# What a shop's pages need: nothing that tells of the service, or costs as much as many searches.
PUBLISHABLE = frozenset(("search", "suggest", "list_products", "get_product", "get_image"))
# What browsers load without a header: a signed address will do in place of a key.
SIGNED = frozenset(("get_image", "get_generated_image", "get_preview"))


def needed_scope(operation: str | None) -> Scope | None:
    """Return what the operation asks for; None where it asks nobody for a key.

    What is no operation, a wrong address say, is told to whoever may read.
    """
    return Scope.read if operation is None else SCOPES.get(operation, Scope.admin)


def require_scope(principal: Principal, operation: str | None, origin: str | None) -> None:
    """Raise Forbidden where the caller may not do this, or not from a page of this origin.

    Args:
        principal: the caller.
        operation: the name of the route; None where there is none.
        origin: of the page that sends the request, as its browser says; None where it says none.
    """
    needed = needed_scope(operation)
    if needed is not None and not principal.scope.includes(needed):
        raise Forbidden(f"这个密钥的权限是 {principal.scope}，此操作需要 {needed}")
    if not principal.origins:
        return
    if operation not in PUBLISHABLE:
        raise Forbidden("可公开的密钥只能搜索、取搜索建议、查看商品及其图片")
    if origin not in principal.origins:
        raise Forbidden(f"这个可公开的密钥只能由这些来源的网页使用：{'、'.join(principal.origins)}")
