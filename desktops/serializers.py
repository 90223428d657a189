"""What people may ask of a room, as pages' forms and the API's JSON have it."""

from __future__ import annotations

from typing import Any

from django.http import QueryDict
from rest_framework import serializers

from desktops.baton import ACTS
from desktops.models import Mode
from desktops.models.chat import MAX_TEXT
from instances.actions import Refused

GREATEST = 2**63 - 1
"""The greatest number of a row."""


class RoomSettingsSerializer(serializers.Serializer[Any]):
    members_alone = serializers.BooleanField(help_text="Members may work while the owner is away.")
    watchers_clipboard = serializers.BooleanField(help_text="Watchers receive what is copied in the machine.")
    watchers_draw = serializers.BooleanField(help_text="Watchers may point and draw.")
    mode = serializers.ChoiceField(Mode.choices, help_text="Everyone with full control at once, or one at a time.")


class ControlSerializer(serializers.Serializer[Any]):
    act = serializers.ChoiceField([*ACTS, "give"])
    to = serializers.UUIDField(required=False, help_text="With give: the person's id.")


class DismissalSerializer(serializers.Serializer[Any]):
    user = serializers.UUIDField(help_text="The person's id.")


class MessageSerializer(serializers.Serializer[Any]):
    """`text` is bounded loosely here: what is too long by a little is told how much, and nothing is lost."""

    key = serializers.UUIDField(help_text="Made by you; the same key again is the same message.")
    text = serializers.CharField(max_length=10 * MAX_TEXT, trim_whitespace=False)


class ReadSerializer(serializers.Serializer[Any]):
    upto = serializers.IntegerField(
        min_value=0, max_value=GREATEST, help_text="The number of the last message that was seen."
    )


class PageSerializer(serializers.Serializer[Any]):
    after = serializers.IntegerField(
        min_value=0, max_value=GREATEST, default=0, help_text="The number of the last message you have."
    )
    before = serializers.IntegerField(
        min_value=0, max_value=GREATEST, required=False, help_text="The number of the first message you have."
    )


def checked(kind: type[serializers.Serializer[Any]], form: QueryDict, *, partial: bool = False) -> dict[str, Any]:
    """A page's form as values; raises Refused with a sentence and the first field that is wrong."""
    asked = kind(data=form, partial=partial)
    if not asked.is_valid():
        field, sentences = next(iter(asked.errors.items()))
        raise Refused(str(sentences[0]), field)
    values: dict[str, Any] = asked.validated_data
    return values
