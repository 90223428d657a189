"""What pages of machines show of being there together."""

from __future__ import annotations

from typing import Any

from django import template
from django.template import RequestContext
from django.urls import reverse

from desktops import rooms
from desktops.words import chat_words
from instances.models import Instance
from instances.states import LIVE

register = template.Library()


@register.inclusion_tag("desktops/_chat.html", takes_context=True)
def chat_of(context: RequestContext, instance: Instance) -> dict[str, Any]:
    """The chat of a live machine, for those who chat there; for others nothing."""
    request = context["request"]
    if instance.state not in LIVE or not rooms.may_chat(request.user, instance):
        return {"facts": None}
    facts = {"id": str(instance.uuid), "machine": reverse("machine", args=[instance.uuid]), "words": chat_words()}
    return {"facts": facts, "csrf_token": context.get("csrf_token")}
