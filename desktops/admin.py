"""Who looked at which machine: for staff to see, and for nobody to change."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from desktops.models import Connection
from instances.admin.looking import ReadOnly


@admin.register(Connection)
class ConnectionAdmin(ReadOnly, ModelAdmin):
    list_display = ["opened_at", "user", "instance", "which", "role", "closed_at", "ended"]
    list_filter = ["which", ("user", AutocompleteSelectFilter)]
    list_filter_submit = True
    list_select_related = ["user", "instance"]
    search_fields = ["instance__name", "user__username", "user__last_name"]
    paginator = InfinitePaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    @display(description=_("ended"))
    def ended(self, connection: Connection) -> str:
        return f"{connection.code} {connection.reason}".strip() if connection.code else "–"
