"""What people write to each other beside a machine's screen: members always, supporters while they are let in.

Members read everything for as long as the machine lives; supporters what was written since they were let in. With the
machine its chat is deleted.
"""

from __future__ import annotations

import unicodedata
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from desktops import control, news, rooms
from desktops.models import AccessRequest, ChatMessage, ChatRead, Room
from desktops.models.chat import MAX_TEXT
from experiments.models import User
from instances.actions import NotAllowed, Refused
from instances.models import Instance, Member, Transition
from instances.signals import transitioned
from instances.states import State

ON_A_PAGE = 200
AT_ONCE, WITHIN = 20, timedelta(seconds=10)
"""So many messages of one person in so short a time are enough."""


def connect() -> None:
    """Listen to the signals; called once when the app is ready."""
    transitioned.connect(_forget, dispatch_uid="desktops.chat")


def must_chat(user: User, instance: Instance) -> None:
    """Raises NotAllowed for those who may not."""
    if not rooms.may_chat(user, instance):
        raise NotAllowed(_("The chat is for the members of this machine, and for those whom its owner let in to help."))


def send(user: User, instance: Instance, key: UUID, text: str) -> ChatMessage:
    """Keep and tell a message; the same `key` again is the same one. Raises Refused, with the field for bad text."""
    must_chat(user, instance)
    said = clean(text)
    Room.objects.get_or_create(instance=instance)
    with transaction.atomic():
        # One after the other: a reader who has seen message 6 must never have missed a 5 that was not yet committed.
        Room.objects.select_for_update(no_key=True).get(instance=instance)
        before = ChatMessage.objects.filter(instance=instance, author=user, key=key).first()
        if before:
            return before
        _must_not_flood(user)
        message = ChatMessage.objects.create(instance=instance, author=user, key=key, text=said)
        _ring(instance, user)
    return message


def clean(text: str) -> str:
    """Without control characters and blank edges. Raises Refused for nothing, and for too much."""
    kept = "".join(c for c in text.replace("\r\n", "\n") if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cs"})
    kept = kept.strip()
    if not kept:
        raise Refused(_("Write something first."), "text")
    if len(kept) > MAX_TEXT:
        raise Refused(
            _("A message has at most %(most)d characters; this has %(has)d.") % {"most": MAX_TEXT, "has": len(kept)},
            "text",
        )
    return kept


def _must_not_flood(user: User) -> None:
    lately = ChatMessage.objects.filter(author=user, at__gt=timezone.now() - WITHIN)
    if lately.count() >= AT_ONCE:
        raise Refused(_("That was a lot at once. Wait a few seconds and send it again."))


def history(user: User, instance: Instance, after: int = 0, before: int | None = None) -> dict[str, Any]:
    """At most `ON_A_PAGE` messages in the order of their writing: those next after the one numbered `after`, or, with
    `before`, the last ones before that. Raises NotAllowed.

    {"messages": [{"n", "who", "text", "at", "mine"}], "more": whether there are others further on in that direction,
    "unread": how many are}.
    """
    must_chat(user, instance)
    rows = rooms.messages_for(user, instance).filter(pk__gt=after).select_related("author")
    rows = rows.order_by("pk") if before is None else rows.filter(pk__lt=before).order_by("-pk")
    found = list(rows[: ON_A_PAGE + 1])
    shown = sorted(found[:ON_A_PAGE], key=lambda message: message.pk)
    return {
        "messages": [_shown(message, user) for message in shown],
        "more": len(found) > ON_A_PAGE,
        "unread": rooms.unread(user, instance),
    }


def _shown(message: ChatMessage, reader: User) -> dict[str, Any]:
    author = message.author
    return {
        "n": message.pk,
        "who": {"id": str(author.uuid), "name": str(author)} if author else None,
        "text": message.text,
        "at": message.at.isoformat(),
        "mine": author == reader,
    }


def read(user: User, instance: Instance, upto: int) -> None:
    """The person has seen the messages up to this one; a mark only moves on. Their other tabs count anew."""
    must_chat(user, instance)
    last = rooms.messages_for(user, instance).filter(pk__lte=upto).order_by("-pk").values_list("pk", flat=True).first()
    mark, _new = ChatRead.objects.get_or_create(instance=instance, user=user)
    if last and ChatRead.objects.filter(pk=mark.pk, upto__lt=last).update(upto=last):
        for kind in ("chat", "unread"):  # a tab hears one of them, by whether it has joined the room
            news.tell_people({user.pk}, {"type": kind, "id": str(instance.uuid)})


def _ring(instance: Instance, author: User) -> None:
    """Those in the room fetch what is new; all others who may chat count what they have not read."""
    uuid = str(instance.uuid)
    grants = AccessRequest.objects.granted_at(timezone.now()).filter(instance=instance)
    people = set(Member.objects.filter(instance=instance).values_list("user_id", flat=True))
    people |= set(grants.values_list("asker_id", flat=True))
    message = {"type": "news", "event": {"type": "chat", "id": uuid}}
    transaction.on_commit(lambda: control.tell([control.of_room(instance.uuid)], message))
    news.tell_people(people - {author.pk}, {"type": "unread", "id": uuid})


def _forget(sender: object, instance: Instance, transition: Transition, **rest: object) -> None:
    """With the machine goes what was said beside it; also what an earlier end, told in vain, left behind."""
    if transition.to == State.DELETED:
        ChatMessage.objects.filter(instance__state=State.DELETED).delete()
        ChatRead.objects.filter(instance__state=State.DELETED).delete()
