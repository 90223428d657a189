"""Domains that carry our mark and no live row knows: what is known of them, and the button that has one removed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin
from unfold.decorators import display

from instances import tasks
from instances.admin.looking import ReadOnly
from instances.models import Instance, Stray
from instances.states import State
from instances.times import moment

POWER = {
    "running": gettext_lazy("running"),
    "paused": gettext_lazy("paused"),
    "off": gettext_lazy("switched off"),
    "crashed": gettext_lazy("crashed"),
}


@admin.register(Stray)
class StrayAdmin(ReadOnly, ModelAdmin):
    """VISA never removes one by itself; a person decides, one at a time, and the administration's log keeps who."""

    list_display = ["domain", "host", "state", "known_as", "first_seen_at", "asked"]
    list_filter = ["host"]
    list_select_related = ["host"]
    actions = None
    fields = ["domain", "host", "state", "known_as", "first_seen_at", "asked"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Stray]:
        strays: QuerySet[Stray] = super().get_queryset(request)
        rows = Instance.objects.filter(uuid=OuterRef("domain"))
        columns = {"machine": "name", "row": "state", "since": "state_since", "owner": "owner__username"}
        return strays.annotate(**{name: Subquery(rows.values(column)[:1]) for name, column in columns.items()})

    def has_delete_permission(self, request: HttpRequest, obj: Stray | None = None) -> bool:
        return bool(ModelAdmin.has_delete_permission(self, request, obj))

    def get_deleted_objects(self, objs: Iterable[Any], request: HttpRequest) -> Any:
        """What the page that asks for confirmation lists."""
        words = _("%(domain)s on host %(host)s (%(state)s), with its disk and all files on it. %(known)s")
        lost = [
            words % {"domain": one.domain, "host": one.host, "state": self.state(one), "known": self.known_as(one)}
            for one in objs
        ]
        kept = [self.known_as(one) for one in objs if one.row not in {None, State.DELETED}]
        return lost, {gettext_lazy("unknown machines"): len(lost)}, set(), kept

    def delete_model(self, request: HttpRequest, obj: Stray) -> None:
        """Asks a worker; the row goes when the observer no longer sees the domain."""
        Stray.objects.filter(pk=obj.pk).update(removal_asked_at=timezone.now())
        tasks.ring_to_remove(obj.pk)

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: int) -> HttpResponse:
        messages.success(request, _("A worker removes %(domain)s from its host now.") % {"domain": obj_display})
        return HttpResponseRedirect(reverse("admin:instances_stray_changelist"))

    @display(description=gettext_lazy("state"))
    def state(self, stray: Stray) -> str:
        return str(POWER.get(stray.power, "–"))

    @display(description=gettext_lazy("what is known of it"))
    def known_as(self, stray: Any) -> str:
        facts = {"name": stray.machine, "owner": stray.owner, "when": moment(stray.since)}
        if stray.machine is None:
            return _("No machine of this number is known; it may be younger than a restored database.")
        if stray.row == State.DELETED:
            return _("It was “%(name)s” of %(owner)s, deleted %(when)s.") % facts
        return _("It goes by the number of “%(name)s” of %(owner)s, which is in use.") % facts

    @display(description=gettext_lazy("removal"))
    def asked(self, stray: Stray) -> str:
        asked = stray.removal_asked_at
        return _("asked for %(when)s; it waits for the host") % {"when": moment(asked)} if asked else "–"
