"""Machines as support sees them: what needs a hand, what may be asked of it, and what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import flatten_fieldsets
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RelatedDropdownFilter
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from experiments.models import User
from instances import actions, life
from instances.admin.history import EntryInline, MemberChangeInline, TransitionInline
from instances.admin.looking import ReadOnly
from instances.cards import look_of
from instances.evidence import sentence
from instances.expiry import Rulebook
from instances.models import Instance, Kernel, Member
from instances.sentences import told
from instances.states import HOLDS_CPU, LIVE, TRANSITIONS, WORKING, State

TONES = {"good": "success", "busy": "info", "warn": "warning", "bad": "danger", "rest": "default"}
LEADS_TO = {
    "start": State.STARTING,
    "retry": State.STARTING,
    "stop": State.STOPPING,
    "reboot": State.REBOOTING,
    "hibernate": State.HIBERNATING,
}


def needs_a_hand() -> Q:
    """Machines that nobody but staff will help: failed, out of reach, or long past their time."""
    return Q(state__in=[State.ERROR, State.UNREACHABLE]) | Q(state__in=WORKING, deadline_at__lt=timezone.now())


class QuestionFilter(admin.SimpleListFilter):
    """The operators' questions. Without one, everything that exists."""

    title = gettext_lazy("question")
    parameter_name = "show"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("hand", gettext_lazy("What needs a hand?")),
            ("running", gettext_lazy("What is running?")),
            ("working", gettext_lazy("What is being made or changed?")),
            ("resting", gettext_lazy("What is stopped or asleep?")),
            ("unused", gettext_lazy("What runs and was not used for a week?")),
            ("computing", gettext_lazy("Where does a notebook compute?")),
            ("pinned", gettext_lazy("What is kept by staff?")),
            ("bin", gettext_lazy("What lies in the recycle bin?")),
            ("gone", gettext_lazy("What was deleted for good?")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Instance]) -> QuerySet[Instance]:
        week_ago = timezone.now() - timedelta(days=7)
        quiet = Q(last_used_at__lt=week_ago) | Q(last_used_at=None, created_at__lt=week_ago)
        answers = {
            "hand": needs_a_hand(),
            "running": Q(state=State.ACTIVE),
            "working": Q(state__in=WORKING),
            "resting": Q(state__in=[State.STOPPED, State.HIBERNATED]),
            "unused": quiet & Q(state__in=HOLDS_CPU),
            "computing": Q(state=State.ACTIVE) & ~Q(kernel=""),
            "pinned": Q(pinned=True, state__in=LIVE),
            "bin": Q(state=State.BINNED),
            "gone": Q(state=State.DELETED),
        }
        return queryset.filter(answers.get(self.value() or "", Q(state__in=LIVE)))


class MemberInline(ReadOnly, TabularInline):
    model = Member
    extra = 0
    fields = readonly_fields = ["user", "role", "created_at"]
    tab = True


class KernelInline(ReadOnly, TabularInline):
    model = Kernel
    extra = 0
    fields = readonly_fields = ["notebook", "language", "busy", "since", "moved_at", "heard_at"]
    tab = True


class WhyForm(forms.ModelForm):  # type: ignore[type-arg] # generic for the stubs alone
    """Nothing of the machine, but why staff keep it or keep it no longer: its history and its owner read it."""

    why = forms.CharField(
        label=gettext_lazy("Why it is kept or given up"),
        max_length=300,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text=gettext_lazy("Read by its owner in the history. Goes with “Keep”, “Keep no longer” and “Give up”."),
    )


@admin.register(Instance)
class InstanceAdmin(ModelAdmin):
    """Nothing here is written by hand: every change is asked of `actions`, as from the owner's pages."""

    form = WhyForm
    inlines = [TransitionInline, EntryInline, MemberChangeInline, KernelInline, MemberInline]
    list_display = ["name", "look", "owner", "host", "image", "size", "since", "trouble"]
    list_filter = [
        QuestionFilter,
        ("host", RelatedDropdownFilter),
        ("plan__image", RelatedDropdownFilter),
        ("owner", AutocompleteSelectFilter),
    ]
    list_filter_submit = True
    list_select_related = ["owner", "host", "plan__image", "plan__flavour"]
    list_per_page = 50
    list_fullwidth = True
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ["name", "owner__username", "owner__last_name"]
    search_help_text = gettext_lazy("Name of the machine or its owner, or the machine's id")
    ordering = ["-created_at"]
    actions = [
        "start_all",
        "stop_all",
        "reboot_all",
        "hibernate_all",
        "retry_all",
        "pin_all",
        "unpin_all",
        "bring_back_all",
    ]
    actions_submit_line = ["start", "retry", "stop", "reboot", "hibernate", "pin", "unpin", "back", "forgo"]
    fieldsets = [
        (None, {"fields": ["name", "in_words", "use", "trouble", "owner", "experiments_shown", "comments"]}),
        (gettext_lazy("Size"), {"fields": [
            "image", ("vcpus", "memory_mib", "disk_gib"), ("screen_width", "screen_height", "keyboard"),
        ]}),
        (gettext_lazy("On its host"), {"fields": ["host", ("power", "observed_at"), "missing_since", "address"]}),
        (gettext_lazy("Times"), {"fields": [
            ("created_at", "booted_at", "desktop_ready_at"), ("state_since", "deadline_at"),
            ("last_used_at", "worked_at", "awake_until"), ("expires_at", "may_end_at", "pinned"),
            ("deleted_at", "bin_until"), "why",
        ]}),
        (gettext_lazy("Kept by VISA"), {"fields": [("uuid", "generation", "attempt")]}),
    ]  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Instance | None = None) -> list[str]:
        shown = flatten_fieldsets(cast("Any", self.fieldsets))
        return [name for name in shown if name != "why"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Instance], search_term: str) -> Any:
        try:
            return queryset.filter(uuid=UUID(search_term.strip())), False
        except ValueError:
            return super().get_search_results(request, queryset, search_term)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        nothing_to_save = {"show_save": False, "show_save_and_continue": False, "show_save_and_add_another": False}
        return super().changeform_view(request, object_id, form_url, nothing_to_save | (extra_context or {}))

    # One machine: buttons

    def get_actions_submit_line(self, request: HttpRequest, object_id: Any) -> list[UnfoldAction]:
        """The buttons for what the machine's state allows."""
        offered: list[UnfoldAction] = super().get_actions_submit_line(request, object_id)
        state = Instance.objects.filter(pk=object_id).values_list("state", flat=True).first()
        allowed = TRANSITIONS[State(state)] if state else frozenset()
        wanted = {name for name, to in LEADS_TO.items() if to in allowed}
        wanted -= {"start"} if state == State.ERROR else {"retry"}
        wanted |= self._of_its_time(object_id)
        return [one for one in offered if one.action_name.rsplit("_", 1)[-1] in wanted]

    def _of_its_time(self, object_id: Any) -> set[str]:
        instance = Instance.objects.select_related("host").filter(pk=object_id).first()
        if instance is None or instance.state == State.DELETED:
            return set()
        offered = {"back"} if instance.gone else {"unpin"} if instance.pinned else {"pin"}
        return offered | ({"forgo"} if instance.host is not None and instance.host.lost else set())

    def save_model(self, request: HttpRequest, obj: Instance, form: Any, change: bool) -> None:
        """Writes nothing: a whole row written back would undo what workers wrote meanwhile. Does what was pressed."""
        for pressed in self.get_actions_submit_line(request, obj.pk):
            if pressed.action_name in request.POST:
                pressed.method(request, obj)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> str:
        asked = [
            name
            for name in [*LEADS_TO, "pin", "unpin", "back", "forgo"]
            if f"instances_instance_{name}" in request.POST
        ]
        return _("Asked for: %(verbs)s") % {"verbs": ", ".join(asked) or "–"}

    def response_change(self, request: HttpRequest, obj: Instance) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:instances_instance_change", args=[obj.pk]))

    @action(description=gettext_lazy("Start"), icon="power_settings_new", permissions=["change"])
    def start(self, request: HttpRequest, obj: Instance) -> None:
        _ask_each(request, [obj], actions.start)

    @action(description=gettext_lazy("Try again"), icon="refresh", permissions=["change"])
    def retry(self, request: HttpRequest, obj: Instance) -> None:
        _ask_each(request, [obj], actions.retry)

    @action(description=gettext_lazy("Stop"), icon="stop_circle", permissions=["change"])
    def stop(self, request: HttpRequest, obj: Instance) -> None:
        _ask_each(request, [obj], actions.stop)

    @action(description=gettext_lazy("Restart"), icon="restart_alt", permissions=["change"])
    def reboot(self, request: HttpRequest, obj: Instance) -> None:
        _ask_each(request, [obj], actions.reboot)

    @action(description=gettext_lazy("Put to sleep"), icon="bedtime", permissions=["change"])
    def hibernate(self, request: HttpRequest, obj: Instance) -> None:
        _ask_each(request, [obj], actions.hibernate)

    @action(description=gettext_lazy("Keep: no end, no sleep"), icon="keep", permissions=["change"])
    def pin(self, request: HttpRequest, obj: Instance) -> None:
        _ask_each(request, [obj], lambda one, by: life.pin(one, by, True, request.POST.get("why", "")[:300]))

    @action(description=gettext_lazy("Keep no longer"), icon="keep_off", permissions=["change"])
    def unpin(self, request: HttpRequest, obj: Instance) -> None:
        _ask_each(request, [obj], lambda one, by: life.pin(one, by, False, request.POST.get("why", "")[:300]))

    @action(description=gettext_lazy("Bring back"), icon="restore_from_trash", permissions=["change"])
    def back(self, request: HttpRequest, obj: Instance) -> None:
        _ask_each(request, [obj], life.bring_back)

    @action(description=gettext_lazy("Give up: its host is gone for good"), icon="link_off", permissions=["change"])
    def forgo(self, request: HttpRequest, obj: Instance) -> None:
        _ask_each(request, [obj], lambda one, by: life.give_up(one, by, request.POST.get("why", "")[:300]))

    # Several machines: the list's actions

    @action(description=gettext_lazy("Start"), permissions=["change"])
    def start_all(self, request: HttpRequest, queryset: QuerySet[Instance]) -> None:
        _ask_each(request, queryset, actions.start)

    @action(description=gettext_lazy("Stop: what is not saved in them is lost"), permissions=["change"])
    def stop_all(self, request: HttpRequest, queryset: QuerySet[Instance]) -> None:
        _ask_each(request, queryset, actions.stop)

    @action(description=gettext_lazy("Restart: what is not saved in them is lost"), permissions=["change"])
    def reboot_all(self, request: HttpRequest, queryset: QuerySet[Instance]) -> None:
        _ask_each(request, queryset, actions.reboot)

    @action(description=gettext_lazy("Put to sleep"), permissions=["change"])
    def hibernate_all(self, request: HttpRequest, queryset: QuerySet[Instance]) -> None:
        _ask_each(request, queryset, actions.hibernate)

    @action(description=gettext_lazy("Keep: no end, no sleep"), permissions=["change"])
    def pin_all(self, request: HttpRequest, queryset: QuerySet[Instance]) -> None:
        _ask_each(request, queryset, _pin)

    @action(description=gettext_lazy("Keep no longer"), permissions=["change"])
    def unpin_all(self, request: HttpRequest, queryset: QuerySet[Instance]) -> None:
        _ask_each(request, queryset, _unpin)

    @action(description=gettext_lazy("Bring back from the recycle bin"), permissions=["change"])
    def bring_back_all(self, request: HttpRequest, queryset: QuerySet[Instance]) -> None:
        _ask_each(request, queryset, life.bring_back)

    @action(description=gettext_lazy("Try again"), permissions=["change"])
    def retry_all(self, request: HttpRequest, queryset: QuerySet[Instance]) -> None:
        _ask_each(request, queryset, actions.retry)

    # Deleting asks the workers; the row stays for history

    def has_delete_permission(self, request: HttpRequest, obj: Instance | None = None) -> bool:
        deletable = obj is None or State.DELETING in TRANSITIONS[State(obj.state)]
        return deletable and bool(super().has_delete_permission(request, obj))

    def get_deleted_objects(self, objs: Iterable[Instance], request: HttpRequest) -> Any:
        lost = [_("“%(name)s” of %(owner)s, and all files on its disk") % {"name": m, "owner": m.owner} for m in objs]
        return lost, {gettext_lazy("machines"): len(lost)}, set(), []

    def delete_model(self, request: HttpRequest, obj: Instance) -> None:
        _ask_each(request, [obj], actions.delete)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Instance]) -> None:
        _ask_each(request, queryset, actions.delete)

    # What is shown

    @display(description=gettext_lazy("state"), ordering="state", label=TONES)
    def look(self, instance: Instance) -> tuple[str, str]:
        shown = look_of(instance)
        return shown.tone, str(shown.word)

    @display(description=gettext_lazy("state"))
    def in_words(self, instance: Instance) -> str:
        return str(look_of(instance).word)

    @display(description=gettext_lazy("use"))
    def use(self, instance: Instance) -> str:
        book, now = Rulebook.current(), timezone.now()
        return sentence(book.judge(instance, now), book.facts(instance), now) or "–"

    @display(description=gettext_lazy("problem"))
    def trouble(self, instance: Instance) -> str:
        return told(instance.problem) or "–"

    @display(description=gettext_lazy("in this state for"), ordering="state_since")
    def since(self, instance: Instance) -> str:
        return timesince(instance.state_since)

    @display(description=gettext_lazy("image"), ordering="plan__image__name")
    def image(self, instance: Instance) -> str:
        return str(instance.plan.image)

    @display(description=gettext_lazy("size"), ordering="memory_mib")
    def size(self, instance: Instance) -> str:
        memory = f"{instance.memory_mib / 1024:g}"
        return _("%(cpus)d CPU · %(memory)s GiB") % {"cpus": instance.vcpus, "memory": memory}

    @display(description=gettext_lazy("experiments"))
    def experiments_shown(self, instance: Instance) -> str:
        attached = instance.experiments.select_related("proposal", "instrument")[:20]
        return "\n".join(str(experiment) for experiment in attached) or "–"


def _pin(instance: Instance, by: User) -> None:
    life.pin(instance, by, True)


def _unpin(instance: Instance, by: User) -> None:
    life.pin(instance, by, False)


def _ask_each(request: HttpRequest, machines: Iterable[Instance], ask: Callable[[Instance, User], None]) -> None:
    """Ask for every machine, and say how many took it and why the others did not."""
    done, by = 0, cast(User, request.user)
    for machine in machines:
        try:
            ask(machine, by)
        except actions.Refused as refusal:
            messages.error(request, f"{machine}: {refusal}")
        else:
            done += 1
    if done:
        messages.success(request, _("Asked for %(count)d machines; workers do it now.") % {"count": done})
