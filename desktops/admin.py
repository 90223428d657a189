"""Sharing as staff see it: who looked, who helped, which links let people in; and the rules, which are theirs."""

from typing import Any, cast

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RangeDateFilter
from unfold.decorators import action, display
from unfold.paginator import InfinitePaginator

from desktops import sharing
from desktops.models import AccessRequest, Connection, HelpRequest, Invitation, Policy
from experiments.models import User
from instances.actions import Refused
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


@admin.register(Policy)
class PolicyAdmin(ModelAdmin):
    """The facility's one row of rules: opened at once, never a second, never none."""

    fieldsets = [
        (_("When the owner leaves"), {"fields": ["owner_away", "grace_seconds"]}),
        (_("Links"), {"fields": ["public_links"]}),
        (_("Support"), {"fields": ["unattended_support", "answer_seconds", "support_minutes", "escalation_minutes"]}),
    ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Policy | None = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        rules, _new = Policy.objects.get_or_create(defaults={})
        return HttpResponseRedirect(reverse("admin:desktops_policy_change", args=[rules.pk]))


@admin.register(Invitation)
class InvitationAdmin(_Trace):
    """Links that let people in. Staff may withdraw one; nobody can read its secret."""

    list_display = [
        "name",
        "instance",
        "role",
        "public",
        "created_by",
        "created_at",
        "expires_at",
        "used",
        "revoked_at",
    ]
    list_filter = ["public", "role", ("created_by", AutocompleteSelectFilter)]
    list_select_related = ["instance", "created_by"]
    search_fields = ["name", "instance__name", "created_by__username", "created_by__last_name"]
    exclude = ["secret_hash"]
    actions = ["withdraw"]

    @display(description=_("used"))
    def used(self, link: Invitation) -> str:
        return f"{link.uses} / {link.max_uses}" if link.max_uses else str(link.uses)

    @action(description=_("Withdraw"), permissions=["withdraw"])
    def withdraw(self, request: HttpRequest, queryset: QuerySet[Invitation]) -> None:
        for link in queryset.select_related("instance"):
            try:
                sharing.revoke(link, cast(User, request.user))
            except Refused as refusal:
                messages.error(request, f"{link}: {refusal}")

    def has_withdraw_permission(self, request: HttpRequest) -> bool:
        """Who may change machines here; the action asks again for each."""
        return request.user.has_perm("instances.change_instance")
