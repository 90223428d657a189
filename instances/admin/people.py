"""Who came to a machine and left it, on the machine's page."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy
from unfold.admin import TabularInline

from instances.admin.looking import ReadOnly
from instances.models import MemberChange


class MemberChangeInline(ReadOnly, TabularInline):
    model = MemberChange
    extra = 0
    fields = readonly_fields = ["at", "act", "user", "role", "by"]
    ordering = ["-at", "-pk"]
    per_page = 25
    tab = True
    verbose_name_plural = gettext_lazy("who came and went")

    def get_queryset(self, request: HttpRequest) -> QuerySet[MemberChange]:
        rows: QuerySet[MemberChange] = super().get_queryset(request)
        return rows.select_related("user", "by")
