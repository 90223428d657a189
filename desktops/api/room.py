"""The API of being together at a machine: who is there, control, and the chat. The same rules as the pages'."""

from __future__ import annotations

from typing import Any, cast

from django.http import Http404
from django.urls import path
from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers, status, views
from rest_framework.request import Request
from rest_framework.response import Response

from desktops import access, baton, chat, hosting, rooms
from desktops.access import Relation
from desktops.serializers import (
    ControlSerializer,
    DismissalSerializer,
    MessageSerializer,
    PageSerializer,
    ReadSerializer,
    RoomSettingsSerializer,
)
from experiments.models import User
from instances.actions import Refused
from instances.api import BAD, CONFLICT, FORBIDDEN, told
from instances.models import Instance

ROOM = OpenApiResponse(OpenApiTypes.OBJECT, _("The room. Who may not come in now learns less."))
DONE = OpenApiResponse(description=_("Done."))
REFUSALS = {400: BAD, 403: FORBIDDEN, 409: CONFLICT}
PERSON = inline_serializer("Who", {"id": serializers.UUIDField(), "name": serializers.CharField()}, allow_null=True)
MESSAGE = inline_serializer(
    "ChatMessage",
    {
        "n": serializers.IntegerField(),
        "who": PERSON,
        "text": serializers.CharField(),
        "at": serializers.DateTimeField(),
        "mine": serializers.BooleanField(),
    },
    many=True,
)
HISTORY = inline_serializer(
    "ChatHistory",
    {"messages": MESSAGE, "more": serializers.BooleanField(), "unread": serializers.IntegerField()},
)


class _AtMachine(views.APIView):
    """Finds the machine for those who may know of it, and tells refusals as HTTP does."""

    user: User
    instance: Instance
    relation: Relation

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.user = cast(User, request.user)
        found = access.find(self.user, kwargs["uuid"])
        if found is None:
            raise Http404
        self.instance, self.relation = found

    def handle_exception(self, exc: Exception) -> Response:
        return super().handle_exception(told(exc) if isinstance(exc, Refused) else exc)

    def asked(self, kind: type[serializers.Serializer[Any]], data: Any, *, partial: bool = False) -> dict[str, Any]:
        """What was asked, or 400."""
        serializer = kind(data=data, partial=partial)
        serializer.is_valid(raise_exception=True)
        values: dict[str, Any] = serializer.validated_data
        return values


class RoomView(_AtMachine):
    @extend_schema(operation_id="room_retrieve", responses={200: ROOM})
    def get(self, request: Request, **kwargs: Any) -> Response:
        """Who is at the machine's screen, who has control, and what holds for everybody."""
        return Response(rooms.room_for(self.user, self.instance, self.relation))

    @extend_schema(operation_id="room_update", request=RoomSettingsSerializer, responses={200: ROOM, **REFUSALS})
    def patch(self, request: Request, **kwargs: Any) -> Response:
        """The owner decides what the others may do."""
        hosting.arrange(self.user, self.instance, self.asked(RoomSettingsSerializer, request.data, partial=True))
        return self.get(request)


class ControlView(_AtMachine):
    @extend_schema(operation_id="room_control", request=ControlSerializer, responses={204: DONE, **REFUSALS})
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Ask for control, withdraw, give, take, lock, unlock, freeze or thaw."""
        asked = self.asked(ControlSerializer, request.data)
        baton.act(self.user, self.instance, asked["act"], asked.get("to"))
        return Response(status=status.HTTP_204_NO_CONTENT)


class DismissView(_AtMachine):
    @extend_schema(operation_id="room_dismiss", request=DismissalSerializer, responses={204: DONE, **REFUSALS})
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Close somebody's screen."""
        hosting.dismiss(self.user, self.instance, self.asked(DismissalSerializer, request.data)["user"])
        return Response(status=status.HTTP_204_NO_CONTENT)


class ChatView(_AtMachine):
    @extend_schema(
        operation_id="chat_list", parameters=[PageSerializer], responses={200: HISTORY, 400: BAD, 403: FORBIDDEN}
    )
    def get(self, request: Request, **kwargs: Any) -> Response:
        """What was written, oldest first, at most 200; ask again after the last one's number, or before the first's."""
        asked = self.asked(PageSerializer, request.query_params)
        return Response(chat.history(self.user, self.instance, **asked))

    @extend_schema(operation_id="chat_send", request=MessageSerializer, responses={204: DONE, **REFUSALS})
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Write to the others. Sending the same key again is harmless."""
        chat.send(self.user, self.instance, **self.asked(MessageSerializer, request.data))
        return Response(status=status.HTTP_204_NO_CONTENT)


class ChatReadView(_AtMachine):
    @extend_schema(operation_id="chat_read", request=ReadSerializer, responses={204: DONE, **REFUSALS})
    def post(self, request: Request, **kwargs: Any) -> Response:
        """You have seen the messages up to this one."""
        chat.read(self.user, self.instance, self.asked(ReadSerializer, request.data)["upto"])
        return Response(status=status.HTTP_204_NO_CONTENT)


urlpatterns = [
    path("instances/<uuid:uuid>/room/", RoomView.as_view(), name="api-room"),
    path("instances/<uuid:uuid>/room/control/", ControlView.as_view(), name="api-room-control"),
    path("instances/<uuid:uuid>/room/dismiss/", DismissView.as_view(), name="api-room-dismiss"),
    path("instances/<uuid:uuid>/chat/", ChatView.as_view(), name="api-chat"),
    path("instances/<uuid:uuid>/chat/read/", ChatReadView.as_view(), name="api-chat-read"),
]
