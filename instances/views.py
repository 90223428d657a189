"""The pages of machines. Looking a machine up is the permission: another's machine is not found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import F, prefetch_related_objects
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.utils.translation import gettext as _
from django.views.decorators.http import condition, require_GET, require_http_methods, require_POST

from experiments.access import experiments_for
from experiments.models import User
from instances import actions, claims, sight
from instances.cards import Card
from instances.expiry import Rulebook
from instances.forms import (
    DEFAULT_SCREEN,
    SCREENS,
    AwakeForm,
    EndForm,
    MachineForm,
    MoreForm,
    NameForm,
    name_for,
    suggested_name,
)
from instances.history import happened
from instances.models import Flavour, FlavourLimit, Host, Image, Instance, LifePolicy, Member, Plan, Thumbnail
from instances.models.catalogue import plans_for
from instances.models.instance import MAX_SCREEN, MIN_SCREEN, InstanceQuerySet
from instances.sentences import told
from instances.states import State

PAST_ON_A_PAGE = 25
IN_THE_BIN = 100  # shown, those first that are soon lost
HISTORY = 100  # lines of it on a machine's page

ACTS: dict[str, Callable[[Instance, User], None]] = {
    "start": actions.start,
    "stop": actions.stop,
    "reboot": actions.reboot,
    "hibernate": actions.hibernate,
    "delete": actions.delete,
}
ASKS_FIRST = {"stop", "reboot", "hibernate", "delete"}


def person(request: HttpRequest) -> User:
    """Who is signed in; the views are for such people alone."""
    return cast(User, request.user)


def find(request: HttpRequest, uuid: UUID) -> Instance:
    """The machine, for those who may see it; else 404, as if it did not exist."""
    seen = Instance.objects.visible_to(person(request)).with_details()
    return get_object_or_404(pictured(seen), uuid=uuid)


def pictured(machines: InstanceQuerySet) -> InstanceQuerySet:
    """With `pictured_at`, when the picture of the screen was taken; the picture itself stays in the database."""
    return machines.annotate(pictured_at=F("thumbnail__taken_at"))


def cards_of(user: User) -> list[Card]:
    """A card for every live machine that the person owns or shares, most recently used first."""
    prefetch_related_objects([user], "role_grants")  # asked for each card
    belongs = Member.objects.filter(user=user).values("instance")
    machines = pictured(Instance.objects.live().filter(pk__in=belongs).with_details())
    recent = machines.order_by(Coalesce("last_used_at", "created_at").desc(), "-pk")
    return cards_for(user, list(recent.prefetch_related("owner__role_grants")))


def cards_for(user: User, instances: Sequence[Instance]) -> list[Card]:
    seen, book, now = sight.seen_by(user, instances), Rulebook.current(), timezone.now()
    return [
        Card(one, user, actions.may_manage(one, user), book.judge(one, now), book.facts(one), one.pk in seen)
        for one in instances
    ]


def card_for(user: User, instance: Instance) -> Card:
    return cards_for(user, [instance])[0]


@login_required
@require_GET
def card(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """One card of the home page, fetched again when its machine changed. A deleted machine leaves no card."""
    instance = find(request, uuid)
    if instance.gone:
        return HttpResponse("")
    return render(request, "instances/_card.html", {"card": card_for(person(request), instance)})


@login_required
@require_GET
def machine(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """While it is made: the steps. Afterwards: details, people, history, and the way to end it."""
    instance = find(request, uuid)
    return render(request, "instances/machine.html", machine_page(request, instance, NameForm(instance=instance)))


def machine_page(request: HttpRequest, instance: Instance, form: NameForm) -> dict[str, Any]:
    members = instance.members.select_related("user", "user__affiliation").order_by("created_at")
    return {
        "card": card_for(person(request), instance),
        "form": form,
        "history": happened(instance, HISTORY),
        "members": members,
        **time_panel(instance),
    }


def time_panel(instance: Instance) -> dict[str, Any]:
    """What the machine's page says of its time, and its forms."""
    asked = instance.extensions.select_related("answered_by").first()
    most = LifePolicy.current().awake_days
    return {
        "asked": asked,
        "end_form": EndForm(initial={"end": instance.expires_at}),
        "awake_form": AwakeForm(initial={"days": most}),
        "more_form": MoreForm(),
        "awake_most": most,
        "kernels": instance.kernels.fresh(timezone.now()) if instance.state == State.ACTIVE else [],
    }


@login_required
@require_GET
def progress(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The part of the machine's page that moves: state, steps, what may be done next."""
    return render(request, "instances/_progress.html", {"card": card_for(person(request), find(request, uuid))})


@login_required
@require_GET
def status(request: HttpRequest, uuid: UUID) -> JsonResponse:
    """The state as the desktop's page needs it."""
    shown = card_for(person(request), find(request, uuid))
    step = shown.step
    return JsonResponse(
        {
            "state": shown.instance.state,
            "word": str(shown.look.word),
            "ready": shown.instance.ready,
            "working": shown.working,
            "problem": told(shown.instance.problem),
            "step": str(step.label) if step else "",
            "console": shown.instance.console_port is not None,
        }
    )


@login_required
@require_POST
def rename(request: HttpRequest, uuid: UUID) -> HttpResponse:
    instance = find(request, uuid)
    form = NameForm(request.POST)
    if not form.is_valid():
        return render(request, "instances/machine.html", machine_page(request, instance, form), status=422)
    try:
        actions.rename(instance, person(request), form.cleaned_data["name"], form.cleaned_data["comments"])
    except actions.NotAllowed as refusal:
        return refused(request, refusal)
    messages.success(request, _("Saved."))
    return redirect("machine", uuid=uuid)


@login_required
@require_POST
def act(request: HttpRequest, uuid: UUID, name: str) -> HttpResponse:
    """Start, stop, reboot or delete. What loses something is asked about first, unless the page did so already."""
    if name not in ACTS:
        raise Http404
    instance = find(request, uuid)
    if name in ASKS_FIRST and "confirmed" not in request.POST:
        return _ask(request, instance, name)
    try:
        ACTS[name](instance, person(request))
    except actions.NotAllowed as refusal:
        return refused(request, refusal)
    except actions.Refused as refusal:
        return _not_now(request, instance, refusal)
    return _done(request, instance, name)


def _ask(request: HttpRequest, instance: Instance, name: str) -> HttpResponse:
    shown = card_for(person(request), instance)
    if not shown.manages:
        return refused(request, actions.NotAllowed(_("Only the owner of this machine may do that.")))
    question = next((one for one in shown.menu if one.name == name), None)
    if question is None:
        return _done(request, instance, name)
    return render(request, "instances/confirm.html", {"card": shown, "act": question})


def _done(request: HttpRequest, instance: Instance, name: str) -> HttpResponse:
    if not _fragment(request):
        return redirect("home") if name == "delete" else redirect("machine", uuid=instance.uuid)
    return render(request, "instances/_card.html", {"card": card_for(person(request), find(request, instance.uuid))})


def _not_now(request: HttpRequest, instance: Instance, refusal: actions.Refused) -> HttpResponse:
    if not _fragment(request):
        messages.error(request, str(refusal))
        return redirect("machine", uuid=instance.uuid)
    shown = card_for(person(request), find(request, instance.uuid))
    return render(request, "instances/_card.html", {"card": shown, "refusal": str(refusal)})


def _fragment(request: HttpRequest) -> bool:
    """Whether htmx asks for a card, and not the browser for a page."""
    return request.headers.get("HX-Request") == "true"


def refused(request: HttpRequest, refusal: actions.Refused) -> HttpResponse:
    return render(request, "403.html", {"message": str(refusal)}, status=403)


@login_required
@require_GET
def past(request: HttpRequest) -> HttpResponse:
    """Machines of one's own that are gone, newest first; those in the recycle bin can be brought back."""
    gone = Instance.objects.filter(owner=person(request), state=State.DELETED)
    rows = gone.select_related("plan__image", "plan__flavour").order_by("-created_at")
    page = Paginator(rows, PAST_ON_A_PAGE).get_page(request.GET.get("page"))
    binned = Instance.objects.filter(owner=person(request), state=State.BINNED).select_related("plan__image")
    return render(request, "instances/past.html", {"page": page, "binned": binned.order_by("bin_until")[:IN_THE_BIN]})


def _picture_tag(request: HttpRequest, uuid: UUID) -> str | None:
    """The entity tag of the picture, for those who may see it."""
    picture = _picture(request, uuid) if request.user.is_authenticated else None
    return f'"{picture.taken_at.timestamp()}"' if picture else None


def _picture(request: HttpRequest, uuid: UUID) -> Thumbnail | None:
    """The picture, where the person may see the screen now; its bytes stay in the database until they are read."""
    pictures = Thumbnail.objects.defer("webp").select_related("instance")
    found = pictures.filter(instance__uuid=uuid).first()
    return found if found and sight.sees(person(request), found.instance) else None


@login_required
@require_GET
@condition(etag_func=_picture_tag)
def thumbnail(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The last picture of the screen, for those who may see the screen now."""
    picture = _picture(request, uuid)
    if picture is None:
        raise Http404
    response = HttpResponse(bytes(picture.webp), content_type="image/webp")
    patch_cache_control(response, private=True, no_cache=True)
    return response


@login_required
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """The one page on which a machine is asked for. A repeated press leads to the machine of the first."""
    user = person(request)
    if request.method == "GET":
        form = MachineForm(user, initial=remembered(user))
        return render(request, "instances/new.html", _new_page(user, form))
    form = MachineForm(user, request.POST)
    if form.is_valid():
        try:
            return redirect("machine", uuid=actions.create(user, form.wish()).uuid)
        except actions.Refused as refusal:
            form.add_error(refusal.field or None, str(refusal))
    return render(request, "instances/new.html", _new_page(user, form), status=422)


@login_required
@require_GET
def sizes(request: HttpRequest) -> HttpResponse:
    """Image and size tiles for the experiments and the image chosen so far."""
    user = person(request)
    form = MachineForm(user, request.GET)
    chosen = {"image": request.GET.get("image", ""), "flavour": request.GET.get("flavour", "")}
    return render(request, "instances/_tiles.html", tiles(user, form, chosen))


def remembered(user: User) -> dict[str, Any]:
    """The choices of the person's latest machine, as far as they are still offered; else the presets."""
    latest = Instance.objects.filter(owner=user).select_related("plan__image", "plan__flavour").first()
    mine = experiments_for(user)
    before = mine.filter(instances=latest) if latest else mine.none()
    experiments = list(before) or list(mine[:1])
    offered = plans_for(user, experiments)
    plan = (offered.filter(pk=latest.plan_id).first() if latest else None) or _preset(offered)
    return {
        "experiments": [str(experiment.uuid) for experiment in experiments],
        "image": str(plan.image.uuid) if plan else "",
        "flavour": str(plan.flavour.uuid) if plan else "",
        "keyboard": latest.keyboard if latest else "",
        "name": suggested_name(user, tuple(experiments[:1]), plan.image if plan else None),
    }


def _preset(offered: Iterable[Plan]) -> Plan | None:
    plans = list(offered)
    return next((plan for plan in plans if plan.preset), plans[0] if plans else None)


def _new_page(user: User, form: MachineForm) -> dict[str, Any]:
    owned = Instance.objects.live().filter(owner=user).count()
    ticked = set(form["experiments"].value() or [])
    mine = list(experiments_for(user))
    options = [(experiment, str(experiment.uuid) in ticked, name_for(experiment)) for experiment in mine]
    chosen = {"image": str(form["image"].value() or ""), "flavour": str(form["flavour"].value() or "")}
    return {
        "form": form,
        "options": sorted(options, key=lambda option: not option[1]),
        "screens": [(size, size.replace("x", " × ")) for size in SCREENS],
        "default_screen": DEFAULT_SCREEN,
        "screen_limits": (MIN_SCREEN, MAX_SCREEN),
        "owned": owned,
        "quota": actions.quota_of(user),
        "full": owned >= actions.quota_of(user),
        **tiles(user, form, chosen),
    }


@dataclass(frozen=True)
class Tile:
    """A choice with the reason why it cannot be chosen now, if there is one."""

    item: Image | Flavour
    chosen: bool
    why_not: str = ""


def tiles(user: User, form: MachineForm, chosen: dict[str, str]) -> dict[str, Any]:
    """Tiles for the ticked experiments and the chosen image: what goes with them, and what does not, and why."""
    experiments = form.chosen_experiments()
    if not form.is_bound:
        experiments = list(experiments_for(user).filter(uuid__in=form.initial.get("experiments", [])))
    plans = list(plans_for(user, experiments))
    images = list({plan.image_id: plan.image for plan in plans}.values())
    image = next((one for one in images if str(one.uuid) == chosen["image"]), images[0] if images else None)
    fitting = {plan.flavour_id for plan in plans if image and plan.image_id == image.pk}
    return {
        "form": form,
        "image_tiles": [Tile(one, one == image) for one in images],
        "size_tiles": _size_tiles(fitting, {plan.flavour_id for plan in plans}, image, chosen["flavour"]),
    }


def _size_tiles(fitting: set[int], offered: set[int], image: Image | None, chosen: str) -> list[Tile]:
    existing = Plan.objects.filter(enabled=True).values("flavour")
    found = []
    rooms = claims.rooms(host for host in Host.objects.filter(enabled=True) if host.reachable)
    for flavour in Flavour.objects.filter(pk__in=existing):
        why = ""
        if flavour.pk not in offered:
            why = _reserved_for(flavour)
        elif flavour.pk not in fitting:
            why = _("Not offered with %(image)s.") % {"image": image}
        elif image and rooms and not any(room.fits(claims.need_of(image, flavour)) for room in rooms):
            why = _("No host has room for it now.")
        found.append((flavour, why))
    usable = [flavour for flavour, why in found if not why]
    picked = next((one for one in usable if str(one.uuid) == chosen), usable[0] if usable else None)
    return [Tile(flavour, flavour == picked, why) for flavour, why in found]


def _reserved_for(flavour: Flavour) -> str:
    limits = FlavourLimit.objects.filter(flavour=flavour).select_related("instrument")
    names = ", ".join(str(limit) for limit in limits)
    return _("Reserved for: %(names)s.") % {"names": names} if names else _("Not offered with these images.")
