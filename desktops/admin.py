"""Who looked at which machine, and who helped there: for staff to see, and for nobody to change."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RangeDateFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from desktops.models import AccessRequest, Connection, HelpRequest
from instances.admin.looking import ReadOnly


class _Trace(ReadOnly, ModelAdmin):
    """Rows that were written by what people did, the newest first, however many there are."""

    list_filter_submit = True
    paginator = InfinitePaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER


@admin.register(Connection)
class ConnectionAdmin(_Trace):
    list_display = ["opened_at", "user", "instance", "which", "role", "closed_at", "ended"]
    list_filter = ["which", ("user", AutocompleteSelectFilter)]
    list_select_related = ["user", "instance"]
    search_fields = ["instance__name", "user__username", "user__last_name"]

    @display(description=_("ended"))
    def ended(self, connection: Connection) -> str:
        return f"{connection.code} {connection.reason}".strip() if connection.code else "–"


@admin.register(AccessRequest)
class AccessRequestAdmin(_Trace):
    list_display = ["created_at", "asker", "instance", "owner", "kind", "state", "role", "until", "reason"]
    list_filter = ["state", "kind", ("asker", AutocompleteSelectFilter), ("created_at", RangeDateFilter)]
    list_select_related = ["asker", "instance__owner"]
    search_fields = ["instance__name", "asker__username", "asker__last_name", "instance__owner__last_name", "reason"]

    @display(description=_("owner"))
    def owner(self, asked: AccessRequest) -> str:
        return str(asked.instance.owner)


class OpenFilter(admin.SimpleListFilter):
    title = _("call")
    parameter_name = "call"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("waits", _("Nobody answers yet")), ("taken", _("Somebody answers")), ("done", _("Done"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[HelpRequest]) -> QuerySet[HelpRequest]:
        wanted = {
            "waits": Q(closed_at=None, taken_by=None),
            "taken": Q(closed_at=None, taken_by__isnull=False),
            "done": Q(closed_at__isnull=False),
        }
        return queryset.filter(wanted.get(self.value() or "", Q()))


@admin.register(HelpRequest)
class HelpRequestAdmin(_Trace):
    list_display = ["created_at", "by", "instance", "message", "escalated_at", "taken_by", "closed_at"]
    list_filter = [OpenFilter, ("by", AutocompleteSelectFilter), ("taken_by", AutocompleteSelectFilter)]
    list_select_related = ["by", "instance", "taken_by"]
    search_fields = ["instance__name", "by__username", "by__last_name", "message"]
