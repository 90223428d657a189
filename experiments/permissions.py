"""What roles allow in the administration, so that nobody has to keep permission tables by hand."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import BaseBackend

from experiments.models import Role, User

OUR_APPS = {"experiments", "instances", "desktops", "visa_site"}


class RolePermissions(BaseBackend):
    """Administrators may do everything with our rows, IT support may look; both only while `is_staff` is set.

    A role that ends takes its permissions along with the next request.
    """

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        app, _, name = perm.partition(".")
        roles = _roles(user_obj) if app in OUR_APPS else set()
        return Role.ADMIN in roles or (Role.IT_SUPPORT in roles and name.startswith("view_"))

    def has_module_perms(self, user_obj: Any, app_label: str) -> bool:
        return app_label in OUR_APPS and bool(_roles(user_obj) & {Role.ADMIN, Role.IT_SUPPORT})


def _roles(user: Any) -> set[Role]:
    """Asked once for each request: an admin page asks for dozens of permissions."""
    if not isinstance(user, User) or not user.is_active or not user.is_staff:
        return set()
    if not hasattr(user, "_roles_now"):
        user._roles_now = user.roles()  # type: ignore[attr-defined]
    return set(user._roles_now)  # type: ignore[attr-defined]
