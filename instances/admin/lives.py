"""How long machines live: the rules, the limits, and the requests for more time that wait for an answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from experiments.models import User
from instances import life
from instances.actions import Refused
from instances.admin.looking import OneRow
from instances.models import Extension, Instance, LifePolicy, TimeLimit
from instances.states import LIVE

ANSWER_LOOK = {"pending": "warning", "accepted": "success", "refused": "danger"}


def look_again() -> None:
    """Other limits, other ends: every machine is judged anew within a minute."""
    Instance.objects.filter(state__in=LIVE).update(due_at=timezone.now())


@admin.register(LifePolicy)
class LifePolicyAdmin(OneRow):
    """One row. Saved, it holds at once."""

    actions_submit_line = ["allow_sweeps"]
    readonly_fields = ["sweeps_allowed_until"]

    fieldsets = [
        (None, {"fields": ["quota"]}),
        (gettext_lazy("Asleep and at an end"), {"fields": [
            ("idle_notice_hours", "end_notice_hours"), ("grace_days", "bin_days"),
        ]}),
        (gettext_lazy("What counts as work"), {"fields": [("busy_percent", "awake_days")]}),
        (gettext_lazy("Large sweeps"), {
            "fields": ["sweeps_allowed_until"],
            "description": gettext_lazy("More than ten machines and a twentieth of all at once wait until allowed."),
        }),
    ]  # fmt: skip

    def save_model(self, request: HttpRequest, obj: LifePolicy, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        look_again()

    @action(description=gettext_lazy("Save and allow large sweeps for a day"), permissions=["change"])
    def allow_sweeps(self, request: HttpRequest, obj: LifePolicy) -> None:
        obj.sweeps_allowed_until = timezone.now() + timedelta(days=1)
        obj.save()
        messages.success(request, _("What waits is taken within a minute."))


@admin.register(TimeLimit)
class TimeLimitAdmin(ModelAdmin):
    """The most generous row that matches a person counts; rows with a size put the general ones aside for it."""

    list_display = ["__str__", "lifetime_days", "idle_days"]
    list_select_related = ["flavour"]
    autocomplete_fields = ["flavour"]
    fields = ["role", "flavour", ("lifetime_days", "idle_days")]

    def save_model(self, request: HttpRequest, obj: TimeLimit, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        look_again()

    def delete_model(self, request: HttpRequest, obj: TimeLimit) -> None:
        super().delete_model(request, obj)
        look_again()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[TimeLimit]) -> None:
        super().delete_queryset(request, queryset)
        look_again()


class AnswerForm(forms.ModelForm):  # type: ignore[type-arg] # generic for the stubs alone
    """Staff answer with a date or with words; which of them is wanted depends on the button."""

    class Meta:
        model = Extension
        fields = ["until", "words"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "instances_extension_accept" in self.data and not (cleaned.get("until") or "until" in self.errors):
            self.add_error("until", _("Choose the day until which the machine may live."))
        elif "instances_extension_accept" in self.data and cleaned.get("until") and cleaned["until"] <= timezone.now():
            self.add_error("until", _("Choose a moment that is still to come."))
        if "instances_extension_refuse" in self.data and not cleaned.get("words", "").strip():
            self.add_error("words", _("Tell the owner why, in a few words."))
        return cleaned


@admin.register(Extension)
class ExtensionAdmin(ModelAdmin):
    """Accepted with a date, or refused with words: the owner is told either way."""

    form = AnswerForm
    list_display = ["asked_at", "instance", "by", "reason", "ended_at", "how", "answered_by"]
    list_filter = ["answer"]
    list_select_related = ["instance", "by", "answered_by"]
    search_fields = ["instance__name", "by__username", "by__last_name"]
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions_submit_line = ["accept", "refuse"]
    fieldsets = [
        (None, {"fields": ["instance", "by", "asked_at", "ended_at", "reason", "how"]}),
        (gettext_lazy("Your answer"), {"fields": ["until", "words"]}),
    ]
    readonly_fields = ["instance", "by", "asked_at", "ended_at", "reason", "how"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Extension | None = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Extension | None = None) -> list[str]:
        answered = obj is not None and obj.answer != Extension.Answer.PENDING
        return [*self.readonly_fields, *(["until", "words"] if answered else [])]

    def get_form(self, request: HttpRequest, obj: Extension | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        if obj is not None and "until" in form.base_fields:
            form.base_fields["until"].initial = life.usual_end(obj.instance)
        return form

    def get_actions_submit_line(self, request: HttpRequest, object_id: Any) -> Any:
        waits = Extension.objects.filter(pk=object_id, answer=Extension.Answer.PENDING).exists()
        return super().get_actions_submit_line(request, object_id) if waits else []

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        buttons = {"show_save": False, "show_save_and_continue": False, "show_save_and_add_another": False}
        return super().changeform_view(request, object_id, form_url, buttons | (extra_context or {}))

    def save_model(self, request: HttpRequest, obj: Extension, form: Any, change: bool) -> None:
        """Writes nothing of its own: the button pressed does."""
        for pressed in self.get_actions_submit_line(request, obj.pk):
            if pressed.action_name in request.POST:
                pressed.method(request, obj)

    def response_change(self, request: HttpRequest, obj: Extension) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:instances_extension_changelist"))

    @action(description=gettext_lazy("Accept until this day"), permissions=["change"])
    def accept(self, request: HttpRequest, obj: Extension) -> None:
        self._answer(request, lambda by: life.accept(obj, by, cast("Any", obj.until), obj.words))

    @action(description=gettext_lazy("Refuse, with these words"), permissions=["change"])
    def refuse(self, request: HttpRequest, obj: Extension) -> None:
        self._answer(request, lambda by: life.refuse(obj, by, obj.words))

    def _answer(self, request: HttpRequest, give: Any) -> None:
        try:
            give(cast(User, request.user))
        except Refused as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, _("Answered; the owner is told."))

    @display(description=gettext_lazy("answer"), ordering="answer", label=ANSWER_LOOK)
    def how(self, asked: Extension) -> tuple[str, str]:
        return asked.answer, str(asked.get_answer_display())
