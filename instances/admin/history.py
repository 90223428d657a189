"""What happened to machines, as staff read it: on a machine's own page, and of all of them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from instances.admin.looking import ReadOnly
from instances.cards import LOOKS
from instances.evidence import entry_words
from instances.models import Entry, MemberChange, Transition
from instances.sentences import told
from instances.states import State


class Happened(ReadOnly, TabularInline):
    """What happened to the machine and who did it, newest first."""

    extra = 0
    ordering = ["-at", "-pk"]
    per_page = 25
    tab = True
    people = ["by"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.select_related(*self.people)


class TransitionInline(Happened):
    model = Transition
    fields = readonly_fields = ["at", "origin", "to", "by", "why"]
    verbose_name_plural = gettext_lazy("history")

    @display(description=gettext_lazy("why"))
    def why(self, transition: Transition) -> str:
        return told(transition.reason)


class EntryInline(Happened):
    model = Entry
    fields = readonly_fields = ["at", "what", "by", "reason"]
    verbose_name_plural = gettext_lazy("time and people")

    @display(description=gettext_lazy("what"))
    def what(self, entry: Entry) -> str:
        return entry_words(entry.kind, entry.facts)


class MemberChangeInline(Happened):
    model = MemberChange
    fields = readonly_fields = ["at", "act", "user", "role", "by"]
    verbose_name_plural = gettext_lazy("who came and went")
    people = ["user", "by"]


@admin.register(Transition)
class TransitionAdmin(ReadOnly, ModelAdmin):
    """Everything that happened, newest first."""

    list_display = ["at", "instance", "origin_shown", "to_shown", "by", "why"]
    list_filter = [("by", AutocompleteSelectFilter)]
    list_filter_submit = True
    list_select_related = ["instance", "by"]
    search_fields = ["instance__name"]
    ordering = ["-at"]
    paginator = InfinitePaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    @display(description=gettext_lazy("from"))
    def origin_shown(self, transition: Transition) -> str:
        return _word(transition.origin)

    @display(description=gettext_lazy("to"))
    def to_shown(self, transition: Transition) -> str:
        return _word(transition.to)

    @display(description=gettext_lazy("why"))
    def why(self, transition: Transition) -> str:
        return told(transition.reason)


def _word(state: str) -> str:
    return str(LOOKS[State(state)].word) if state else "–"
