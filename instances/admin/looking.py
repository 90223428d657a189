"""Rows that staff look at and nobody writes by hand, and tables of one row."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.admin import ModelAdmin


class ReadOnly:
    """Mixed into an admin or an inline: it shows, and neither adds, changes nor deletes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class OneRow(ModelAdmin):
    """The facility's one row of rules: opened at once, never a second, never deleted."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(super().has_add_permission(request)) and not self.model.objects.exists()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """There is nothing to choose from: the one row, or the form that makes it."""
        name, row = f"admin:instances_{self.model._meta.model_name}", self.model.objects.first()
        page = reverse(f"{name}_change", args=[row.pk]) if row else reverse(f"{name}_add")
        return HttpResponseRedirect(page)
