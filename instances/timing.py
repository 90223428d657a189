"""The pages about a machine's time: its end, staying awake, more time, and the recycle bin."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from experiments.models import User
from instances import life
from instances.actions import NotAllowed, Refused
from instances.forms import AwakeForm, EndForm, MoreForm, NameForm
from instances.models import Instance
from instances.times import end_of_day
from instances.views import card_for, find, machine_page, person, refused, time_panel


@login_required
@require_GET
def show(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The part of the machine's page that says how it stands with its time."""
    instance = find(request, uuid)
    page = {"card": card_for(person(request), instance), **time_panel(instance)}
    return render(request, "instances/_time.html", page)


@login_required
@require_POST
def end(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """An earlier end, at the end of the chosen day; on the last possible day, at the last possible moment."""

    def ask(instance: Instance, by: User, form: Form) -> None:
        life.set_end(instance, by, _moment(form.cleaned_data["end"], instance))

    return _answer(request, uuid, "end_form", EndForm(request.POST), ask)


def _moment(day: date, instance: Instance) -> datetime:
    last = instance.may_end_at
    return last if last and timezone.localtime(last).date() == day else end_of_day(day)


@login_required
@require_POST
def awake(request: HttpRequest, uuid: UUID) -> HttpResponse:
    def ask(instance: Instance, by: User, form: Form) -> None:
        life.keep_awake(instance, by, form.cleaned_data["days"])

    return _answer(request, uuid, "awake_form", AwakeForm(request.POST), ask)


@login_required
@require_POST
def more(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """A request for more time."""

    def ask(instance: Instance, by: User, form: Form) -> None:
        life.ask_for_time(instance, by, form.cleaned_data["reason"])

    return _answer(request, uuid, "more_form", MoreForm(request.POST), ask)


Ask = Callable[[Instance, User, Form], None]


def _answer(request: HttpRequest, uuid: UUID, name: str, form: Form, ask: Ask) -> HttpResponse:
    """Do what a valid form asks; else the machine's page again, with what was typed and what is wrong with it."""
    instance = find(request, uuid)
    if form.is_valid():
        try:
            ask(instance, person(request), form)
        except NotAllowed as refusal:
            return refused(request, refusal)
        except Refused as refusal:
            form.add_error(refusal.field or None, str(refusal))
        else:
            messages.success(request, _("Saved."))
            return redirect("machine", uuid=uuid)
    page = machine_page(request, instance, NameForm(instance=instance)) | {name: form}
    return render(request, "instances/machine.html", page, status=422)


def _do(request: HttpRequest, instance: Instance, what: Callable[[], object], done: str) -> HttpResponse:
    try:
        what()
    except NotAllowed as refusal:
        return refused(request, refusal)
    except Refused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, done)
    return redirect("machine", uuid=instance.uuid)


@login_required
@require_POST
def back(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Out of the recycle bin. Whoever shared the machine only sees that it is gone."""
    instance = find(request, uuid)
    done = _("It is back, switched off. Its disk is as it was.")
    return _do(request, instance, lambda: life.bring_back(instance, person(request)), done)


@login_required
@require_POST
def empty(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Out of the recycle bin, for good."""
    instance = find(request, uuid)
    return _do(request, instance, lambda: life.delete_for_good(instance, person(request)), _("It is deleted for good."))
