"""The people beside a machine's screen: who is there, who has control, and what they write to each other."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from desktops import baton, chat, hosting, rooms
from desktops.serializers import (
    ControlSerializer,
    DismissalSerializer,
    MessageSerializer,
    PageSerializer,
    ReadSerializer,
    RoomSettingsSerializer,
    checked,
)
from desktops.views.answers import answered, found


@login_required
@require_GET
@never_cache
def room(request: HttpRequest, uuid: UUID) -> JsonResponse:
    """Everything that a page draws people from."""
    return JsonResponse(rooms.room_for(*found(request, uuid)))


@login_required
@require_POST
def settings(request: HttpRequest, uuid: UUID) -> JsonResponse:
    user, instance, _relation = found(request, uuid)
    return answered(
        lambda: hosting.arrange(user, instance, checked(RoomSettingsSerializer, request.POST, partial=True))
    )


@login_required
@require_POST
def control(request: HttpRequest, uuid: UUID) -> JsonResponse:
    """Ask for control, pass it on, take it, lock it, freeze everybody."""
    user, instance, _relation = found(request, uuid)

    def act() -> None:
        asked = checked(ControlSerializer, request.POST)
        baton.act(user, instance, asked["act"], asked.get("to"))

    return answered(act)


@login_required
@require_POST
def dismiss(request: HttpRequest, uuid: UUID) -> JsonResponse:
    """Close somebody's screen."""
    user, instance, _relation = found(request, uuid)
    return answered(lambda: hosting.dismiss(user, instance, checked(DismissalSerializer, request.POST)["user"]))


@login_required
@require_GET
@never_cache
def messages(request: HttpRequest, uuid: UUID) -> JsonResponse:
    """What was written after the message numbered `after`, or before `before`."""
    user, instance, _relation = found(request, uuid)
    return answered(lambda: chat.history(user, instance, **checked(PageSerializer, request.GET)))


@login_required
@require_POST
def send(request: HttpRequest, uuid: UUID) -> JsonResponse:
    user, instance, _relation = found(request, uuid)
    return answered(lambda: chat.send(user, instance, **checked(MessageSerializer, request.POST)))


@login_required
@require_POST
def read(request: HttpRequest, uuid: UUID) -> JsonResponse:
    user, instance, _relation = found(request, uuid)
    return answered(lambda: chat.read(user, instance, checked(ReadSerializer, request.POST)["upto"]))
