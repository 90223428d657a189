"""People and what they measured, as the facility's staff keep them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RelatedDropdownFilter
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from experiments.inlines import LabelledInline
from experiments.models import Affiliation, Cycle, Experiment, Instrument, Proposal, Role, RoleGrant, User

admin.site.unregister(Group)  # roles say who may do what


class RoleGrantInline(LabelledInline):
    model = RoleGrant
    extra = 0
    fields = ["role", "expires_at", "now"]
    readonly_fields = ["now"]

    @display(description=_("in force"), label={"yes": "success", "no": "warning"})
    def now(self, grant: RoleGrant) -> tuple[str, Any]:
        return ("yes", _("in force")) if grant.in_force(timezone.now()) else ("no", _("expired"))


class RoleFilter(admin.SimpleListFilter):
    title = _("role in force")
    parameter_name = "role"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [*Role.choices, ("expired", _("Any that has expired"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        if not self.value():
            return queryset
        past = Q(expires_at__lte=timezone.now())
        grants = RoleGrant.objects.filter(past) if self.value() == "expired" else RoleGrant.objects.exclude(past)
        if self.value() != "expired":
            grants = grants.filter(role=self.value())
        return queryset.filter(pk__in=grants.values("user"))


@admin.register(User)
class PersonAdmin(UserAdmin, ModelAdmin):  # type: ignore[type-arg] # generic for the stubs alone
    """A person with their roles. What makes superusers is only for superusers to touch."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    inlines = [RoleGrantInline]
    list_display = ["person", "username", "affiliation", "roles_now", "is_active", "last_login"]
    list_filter = [RoleFilter, ("affiliation", AutocompleteSelectFilter), "is_active", "is_staff"]
    list_filter_submit = True
    list_select_related = ["affiliation"]
    list_per_page = 50
    show_full_result_count = False
    search_fields = ["username", "first_name", "last_name", "email"]
    ordering = ["last_name", "first_name", "username"]
    autocomplete_fields = ["affiliation"]
    readonly_fields = ["uuid", "last_login", "date_joined"]
    filter_horizontal = []
    fieldsets = [
        (None, {"fields": ["username", "password", ("first_name", "last_name"), "email", "affiliation", "language"]}),
        (_("Machines"), {"fields": ["quota", ("posix_uid", "posix_gid")]}),
        (
            _("Access"),
            {
                "fields": ["is_active", "is_staff", "is_superuser"],
                "description": _("Facility staff see this administration when they are also administrator or support."),
            },
        ),
        (_("Kept by VISA"), {"fields": ["uuid", ("last_login", "date_joined")]}),
    ]
    add_fieldsets = [
        (None, {"fields": ["username", "usable_password", "password1", "password2"]}),
        (_("Who it is"), {"fields": [("first_name", "last_name"), "email", "affiliation"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        people: QuerySet[User] = super().get_queryset(request)
        return people.prefetch_related("role_grants")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        fixed = list(super().get_readonly_fields(request, obj))
        return fixed if _is_superuser(request) else [*fixed, "is_superuser"]

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return bool(super().has_change_permission(request, obj)) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return bool(super().has_delete_permission(request, obj)) and _may_touch(request, obj)

    @display(description=_("person"), ordering="last_name")
    def person(self, user: User) -> str:
        return str(user)

    @display(description=_("roles"))
    def roles_now(self, user: User) -> str:
        now = timezone.now()
        return ", ".join(_told(grant, now) for grant in user.role_grants.all()) or "–"


def _told(grant: RoleGrant, now: Any) -> str:
    if not grant.in_force(now):
        return f"{grant.get_role_display()} ({_('expired')})"
    if grant.expires_at is None:
        return str(grant.get_role_display())
    return f"{grant.get_role_display()} ({_('until')} {timezone.localtime(grant.expires_at):%Y-%m-%d})"


def _is_superuser(request: HttpRequest) -> bool:
    return request.user.is_authenticated and request.user.is_superuser


def _may_touch(request: HttpRequest, user: object) -> bool:
    """An administrator by role may not change or delete a superuser, else the role would be a way to become one."""
    return not (isinstance(user, User) and user.is_superuser) or _is_superuser(request)


@admin.register(Affiliation)
class AffiliationAdmin(ModelAdmin):
    list_display = ["name", "town", "country"]
    list_filter = ["country"]
    search_fields = ["name", "town"]
    show_full_result_count = False


@admin.register(Instrument)
class InstrumentAdmin(ModelAdmin):
    list_display = ["name", "code", "description", "number_of_scientists"]
    search_fields = ["name", "code"]
    autocomplete_fields = ["scientists"]
    prepopulated_fields = {"code": ["name"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Instrument]:
        instruments: QuerySet[Instrument] = super().get_queryset(request)
        return instruments.annotate(staffing=Count("scientists"))

    @display(description=_("instrument scientists"), ordering="staffing")
    def number_of_scientists(self, instrument: Instrument) -> int:
        return int(getattr(instrument, "staffing", 0))


@admin.register(Cycle)
class CycleAdmin(ModelAdmin):
    list_display = ["name", "starts_on", "ends_on"]
    search_fields = ["name"]


@admin.register(Proposal)
class ProposalAdmin(ModelAdmin):
    list_display = ["identifier", "title"]
    search_fields = ["identifier", "title", "doi"]
    show_full_result_count = False


class WhenFilter(admin.SimpleListFilter):
    title = _("when")
    parameter_name = "when"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("now", _("Measuring now")), ("coming", _("Coming")), ("past", _("Over"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Experiment]) -> QuerySet[Experiment]:
        now = timezone.now()
        asked = {
            "now": Q(starts_at__lte=now, ends_at__gte=now),
            "coming": Q(starts_at__gt=now),
            "past": Q(ends_at__lt=now),
        }
        return queryset.filter(asked.get(self.value() or "", Q()))


@admin.register(Experiment)
class ExperimentAdmin(ModelAdmin):
    list_display = ["identifier", "headline", "instrument", "cycle", "starts_at", "ends_at", "team_size"]
    list_filter = [WhenFilter, ("instrument", RelatedDropdownFilter), ("cycle", RelatedDropdownFilter)]
    list_filter_submit = True
    list_select_related = ["proposal", "instrument", "cycle"]
    search_fields = ["proposal__identifier", "proposal__title", "title", "team__last_name"]
    autocomplete_fields = ["proposal", "instrument", "cycle", "team"]
    date_hierarchy = "starts_at"
    show_full_result_count = False
    readonly_fields = ["uuid"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Experiment]:
        experiments: QuerySet[Experiment] = super().get_queryset(request)
        return experiments.annotate(people=Count("team"))

    @display(description=_("proposal"), ordering="proposal__identifier")
    def identifier(self, experiment: Experiment) -> str:
        return experiment.proposal.identifier

    @display(description=_("title"))
    def headline(self, experiment: Experiment) -> str:
        return experiment.headline

    @display(description=_("team"), ordering="people")
    def team_size(self, experiment: Experiment) -> int:
        return int(getattr(experiment, "people", 0))
