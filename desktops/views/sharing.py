"""The people of a machine: the panel of its page, what it asks for, and the page that a link leads to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from desktops import sharing
from desktops.access import Relation
from desktops.forms import InvitationForm, PersonForm, RoleForm
from desktops.models import Connection, Invitation, Policy, Room, Which
from desktops.pace import too_often
from desktops.rooms import members_of
from desktops.views.answers import answered, found
from experiments.models import User
from instances import members
from instances.actions import may_manage
from instances.models import Instance, MemberRole
from instances.times import day

TERMS = {
    MemberRole.USER: gettext_lazy("You see the desktop and work on it: mouse, keyboard and clipboard are yours too."),
    MemberRole.GUEST: gettext_lazy("You see the desktop. Mouse and keyboard stay with the others."),
}
SEARCHES = 60
"""Searches of one person in a minute: as quick as one types."""


def _members_machine(request: HttpRequest, uuid: UUID) -> tuple[User, Instance]:
    """As `found`; but who came by a public link sees the screen alone, and not who else may."""
    user, instance, relation = found(request, uuid)
    if relation is Relation.PUBLIC:
        raise Http404
    return user, instance


@login_required
@require_GET
@never_cache
def people(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The panel: everybody who may come in and, for who manages the machine, what may be changed."""
    user, instance = _members_machine(request, uuid)
    looks = Connection.objects.open_at(timezone.now()).filter(instance=instance, which=Which.SCREEN)
    facts: dict[str, Any] = {
        "machine": instance,
        "members": members_of(instance),
        "here": set(looks.values_list("user_id", flat=True)),
        "manages": may_manage(instance, user),
    }
    if facts["manages"]:
        facts |= {
            "candidates": members.candidates(instance),
            "form": InvitationForm(auto_id="invite-%s"),
            "invitations": sharing.invitations_of(instance),
            "public": sharing.public_link(instance),
            "public_links": Policy.current().public_links,
            "room": Room.of(instance),
        }
    return render(request, "desktops/_people.html", facts)


@login_required
@require_GET
@never_cache
def search(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """People to add: without `q` the teams of the machine's experiments, else who is called so."""
    user, instance = _members_machine(request, uuid)
    if not may_manage(instance, user):
        return HttpResponse(status=403)
    text = request.GET.get("q", "")[:100]
    if text.strip() and too_often("search", user, at_most=SEARCHES, seconds=60):
        return render(request, "desktops/_found.html", {"too_often": True}, status=429)
    facts = {"machine": instance, "candidates": members.candidates(instance, text), "text": text.strip()}
    return render(request, "desktops/_found.html", facts)


def _asked(form: forms.Form, work: Callable[[dict[str, Any]], object]) -> JsonResponse:
    """Do `work` with what the form says; or the first sentence about it that is wrong."""
    if form.is_valid():
        return answered(lambda: work(form.cleaned_data))
    field, errors = next(iter(form.errors.items()))
    return JsonResponse({"error": errors[0], "field": field}, status=400)


@login_required
@require_POST
def add(request: HttpRequest, uuid: UUID) -> HttpResponse:
    user, instance = _members_machine(request, uuid)
    form = RoleForm(request.POST)
    return _asked(form, lambda asked: members.add(instance, user, asked["user"], asked["role"]))


@login_required
@require_POST
def role(request: HttpRequest, uuid: UUID) -> HttpResponse:
    user, instance = _members_machine(request, uuid)
    form = RoleForm(request.POST)
    return _asked(form, lambda asked: members.change_role(instance, user, asked["user"], asked["role"]))


@login_required
@require_POST
def remove(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Take somebody off the machine; oneself too."""
    user, instance = _members_machine(request, uuid)
    return _asked(PersonForm(request.POST), lambda asked: members.remove(instance, user, asked["user"]))


@login_required
@require_POST
def handover(request: HttpRequest, uuid: UUID) -> HttpResponse:
    user, instance = _members_machine(request, uuid)
    return _asked(PersonForm(request.POST), lambda asked: members.hand_over(instance, user, asked["user"]))


@login_required
@require_POST
@never_cache
def invite(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Make a link. Its address is in this one answer and can be had nowhere else."""
    user, instance = _members_machine(request, uuid)
    return _with_link(InvitationForm(request.POST), lambda asked: sharing.invite(instance, user, **asked))


@login_required
@require_POST
def revoke(request: HttpRequest, uuid: UUID, invitation: UUID) -> HttpResponse:
    user, instance = _members_machine(request, uuid)
    link = get_object_or_404(Invitation, instance=instance, uuid=invitation)
    return answered(lambda: sharing.revoke(link, user))


@login_required
@require_POST
@never_cache
def public_link(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """act=make: a new public link in place of the old one; act=revoke: none."""
    user, instance = _members_machine(request, uuid)
    if request.POST.get("act") == "make":
        return _with_link(forms.Form({}), lambda asked: sharing.open_to_all(instance, user))
    return answered(lambda: sharing.close_to_all(instance, user))


def _with_link(form: forms.Form, make: Callable[[dict[str, Any]], tuple[Invitation, str]]) -> JsonResponse:
    """As `_asked`, with the address that was made."""
    made: list[str] = []
    answer = _asked(form, lambda asked: made.append(make(asked)[1]))
    return JsonResponse({"ok": True, "link": made[0]}) if made else answer


@require_http_methods(["GET", "POST"])
@never_cache
def join(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The page that a link leads to, the same for every id. Its script posts the secret, which no address carries.

    POST: what the link is for; with act=join, also use it.
    """
    if request.method == "GET":
        sign_in = f"{reverse('account_login')}?next={request.path}"
        return render(request, "desktops/join.html", {"uuid": uuid, "sign_in": sign_in})
    if not request.user.is_authenticated:
        return JsonResponse({"error": _("Sign in to go on."), "field": None}, status=403)
    user, use = request.user, sharing.join if request.POST.get("act") == "join" else sharing.look
    shown: list[Invitation] = []
    answer = answered(lambda: shown.append(use(uuid, request.POST.get("secret", "")[:200], user)))
    return JsonResponse({"ok": True} | _invitation(shown[0])) if shown else answer


def _invitation(link: Invitation) -> dict[str, str]:
    """What a link is for, in the reader's words; told to who has its secret."""
    owner = link.instance.owner
    facts = {"who": owner, "machine": link.instance.name}
    if link.public:
        words, terms = _("%(who)s shows “%(machine)s”"), _("You may watch while %(who)s is there.")
    else:
        words, terms = _("%(who)s invites you to “%(machine)s”"), str(TERMS[MemberRole(link.role)])
    until = _("The link is valid until %(day)s.") % {"day": day(link.expires_at)} if link.expires_at else ""
    return {
        "title": words % facts,
        "affiliation": str(owner.affiliation or ""),
        "role": link.get_role_display(),
        "terms": terms % facts,
        "until": until,
        "desktop": reverse("desktop", args=[link.instance.uuid]),
    }
