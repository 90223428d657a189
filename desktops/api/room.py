"""The API of being together at a machine: who is there, control, and the chat. The same rules as the pages'."""

from __future__ import annotations

from typing import Any

from django.urls import path
from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from desktops import baton, chat, hosting, rooms
from desktops.api.machine import DONE, REFUSALS, AtMachine
from desktops.serializers import (
    ControlSerializer,
    DismissalSerializer,
    MessageSerializer,
    PageSerializer,
    ReadSerializer,
    RoomSettingsSerializer,
)
from instances.api import BAD, FORBIDDEN

ROOM = OpenApiResponse(OpenApiTypes.OBJECT, _("The room. Who may not come in now learns less."))
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


class RoomView(AtMachine):
    @extend_schema(operation_id="room_retrieve", responses={200: ROOM})
    def get(self, request: Request, **kwargs: Any) -> Response:
        """Who is at the machine's screen, who has control, and what holds for everybody."""
        return Response(rooms.room_for(self.user, self.instance, self.relation))

    @extend_schema(operation_id="room_update", request=RoomSettingsSerializer, responses={200: ROOM, **REFUSALS})
    def patch(self, request: Request, **kwargs: Any) -> Response:
        """The owner decides what the others may do."""
        hosting.arrange(self.user, self.instance, self.asked(RoomSettingsSerializer, request.data, partial=True))
        return self.get(request)


class ControlView(AtMachine):
    @extend_schema(operation_id="room_control", request=ControlSerializer, responses={204: DONE, **REFUSALS})
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Ask for control, withdraw, give, take, lock, unlock, freeze or thaw."""
        asked = self.asked(ControlSerializer, request.data)
        baton.act(self.user, self.instance, asked["act"], asked.get("to"))
        return Response(status=status.HTTP_204_NO_CONTENT)


class DismissView(AtMachine):
    @extend_schema(operation_id="room_dismiss", request=DismissalSerializer, responses={204: DONE, **REFUSALS})
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Close somebody's screen."""
        hosting.dismiss(self.user, self.instance, self.asked(DismissalSerializer, request.data)["user"])
        return Response(status=status.HTTP_204_NO_CONTENT)


class ChatView(AtMachine):
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


class ChatReadView(AtMachine):
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
