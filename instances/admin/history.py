"""What happened to machines, as staff read it: on a machine's own page, and of all of them."""

from __future__ import annotations

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
from instances.models import Entry, Transition
from instances.sentences import told
from instances.states import State


class TransitionInline(ReadOnly, TabularInline):
    model = Transition
    extra = 0
    fields = readonly_fields = ["at", "origin", "to", "by", "why"]
    ordering = ["-at", "-pk"]
    per_page = 25
    tab = True
    verbose_name_plural = gettext_lazy("history")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Transition]:
        rows: QuerySet[Transition] = super().get_queryset(request)
        return rows.select_related("by")

    @display(description=gettext_lazy("why"))
    def why(self, transition: Transition) -> str:
        return told(transition.reason)


class EntryInline(ReadOnly, TabularInline):
    model = Entry
    extra = 0
    fields = readonly_fields = ["at", "what", "by", "reason"]
    ordering = ["-at", "-pk"]
    per_page = 25
    tab = True
    verbose_name_plural = gettext_lazy("time and people")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Entry]:
        rows: QuerySet[Entry] = super().get_queryset(request)
        return rows.select_related("by")

    @display(description=gettext_lazy("what"))
    def what(self, entry: Entry) -> str:
        return entry_words(entry.kind, entry.facts)


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
