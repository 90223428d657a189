"""Mail on its way and mail that was sent: staff see why a letter did not arrive, and send it again."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin
from unfold.decorators import action
from unfold.paginator import InfinitePaginator

from instances.admin.looking import ReadOnly
from instances.models import Letter


@admin.register(Letter)
class LetterAdmin(ReadOnly, ModelAdmin):
    list_display = ["written_at", "user", "kind", "instance", "sent_at", "attempts", "problem"]
    list_filter = ["kind"]
    list_select_related = ["user", "instance"]
    search_fields = ["user__username", "user__last_name", "instance__name"]
    actions = ["send_again"]
    paginator = InfinitePaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    @action(description=gettext_lazy("Send again"), permissions=["view"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Letter]) -> None:
        count = queryset.update(next_at=timezone.now(), sent_at=None, attempts=0, problem="")
        messages.success(request, _("%(count)d letters are sent within a minute.") % {"count": count})
