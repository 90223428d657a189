"""What runs on a host, and what staff may do with it before they work on the host."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from experiments.models import User
from instances import draining
from instances.actions import Refused
from instances.cards import look_of
from instances.models import Host, Instance, Relocation
from instances.states import HOLDS_CPU, ON_HOST, State

PER_PAGE = 100
CLEARS = {"sleep": State.HIBERNATING, "stop": State.STOPPING}
CHOOSABLE = {State.ACTIVE, State.STOPPED}


def machines_on(host: Host) -> QuerySet[Instance]:
    """Everything that has a disk there, what runs first."""
    at_rest = Case(When(state__in=HOLDS_CPU, then=Value(0)), default=Value(1))
    return host.instances.filter(state__in=ON_HOST).select_related("owner").order_by(at_rest, "name", "pk")


class DrainForm(forms.Form):
    """Which machines, why, and by the button pressed, what."""

    act = forms.ChoiceField(choices=[(act, act) for act in ("sleep", "stop", "move", "close", "back")])
    reason = forms.CharField(label=gettext_lazy("Reason, for the owners to read"), max_length=300, required=False)
    machines = forms.ModelMultipleChoiceField(queryset=Instance.objects.none(), required=False)

    def __init__(self, host: Host, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"initial": {"reason": host.closed_reason}, **kwargs})
        cast("Any", self.fields["machines"]).queryset = machines_on(host)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("act") in {*CLEARS, "move"} and not cleaned.get("machines"):
            self.add_error("machines", _("Choose at least one machine."))
        if cleaned.get("act") not in {"back", "move"} and not cleaned.get("reason"):
            self.add_error("reason", _("Say why in a few words: the owners of the machines read it."))
        return cleaned


def page(request: HttpRequest, pk: str, *, may_change: bool) -> HttpResponse:
    """The page, and what its buttons ask. Looking is for all staff, the buttons are for those who may change hosts."""
    host = get_object_or_404(Host, pk=pk)
    form = DrainForm(host, request.POST or None)
    if request.method == "POST":
        if not may_change:
            raise PermissionDenied
        if form.is_valid():
            _do(request, host, **form.cleaned_data)
            return HttpResponseRedirect(request.path)
    machines = Paginator(machines_on(host), PER_PAGE).get_page(request.GET.get("page"))
    moves = {one.instance_id: one for one in _moves(machines)}
    context = admin.site.each_context(request) | {
        "title": _("On %(host)s") % {"host": host},
        "host": host,
        "form": form,
        "chosen": set(form.data.getlist("machines")) if form.is_bound else set(),  # type: ignore[attr-defined]
        "page": machines,
        "rows": [(one, look_of(one), one.state in CHOOSABLE, moves.get(one.pk)) for one in machines],
        "running": host.instances.filter(state__in=HOLDS_CPU).count(),
        "may_change": may_change,
    }
    return TemplateResponse(request, "admin/instances/host/machines.html", context)


def _moves(machines: Iterable[Instance]) -> QuerySet[Relocation]:
    """Those that are under way, or were given up since the machine last changed its state."""
    news = Q(cleared_at=None) | Q(outcome=Relocation.Outcome.GIVEN_UP, asked_at__gt=F("instance__state_since"))
    return Relocation.objects.filter(news, instance__in=list(machines)).select_related("target").order_by("asked_at")


def _do(request: HttpRequest, host: Host, act: str, reason: str, machines: QuerySet[Instance]) -> None:
    by = cast(User, request.user)
    try:
        if act == "close":
            draining.close(host, by, reason)
            messages.success(request, _("The host is closed: nothing starts there until you bring it back."))
        elif act == "back":
            told = draining.bring_back(host, by)
            messages.success(request, _("The host is back. Owners of %(count)d machines are told.") % {"count": told})
        elif act == "move":
            _each(request, machines, lambda one: draining.move(one, by))
        else:
            _each(request, machines, lambda one: draining.clear(one, by, CLEARS[act], reason))
    except Refused as refusal:
        messages.error(request, str(refusal))


def _each(request: HttpRequest, machines: QuerySet[Instance], ask: Callable[[Instance], object]) -> None:
    done = 0
    for machine in machines.select_related("plan__image", "plan__flavour"):
        try:
            ask(machine)
        except Refused as refusal:
            messages.error(request, f"{machine}: {refusal}")
        else:
            done += 1
    if done:
        messages.success(request, _("Asked for %(count)d machines; workers do it now.") % {"count": done})
