"""The hosts, with a button that asks whether they can be reached."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from experiments.models import User
from instances import draining, tasks
from instances.admin import carrying
from instances.admin.draining import page as machines_page
from instances.admin.looking import OneRow
from instances.models import Flavour, Host, Image, PlacementPolicy
from instances.models.fields import labels_of
from instances.sentences import told
from instances.states import LIVE, ON_HOST

HOW_TO_REACH = {"uri", "virtualisation", "pool_name", "pool_path", "network_name", "network_cidr", "blocked_networks"}


def ask(host: Host) -> None:
    """Have a worker look at the host; what was wrong before is forgotten, so that an answer can be told from it."""
    Host.objects.filter(pk=host.pk).exclude(problem="").update(problem="", seen_at=None)
    transaction.on_commit(lambda: tasks.check_host.delay(host.pk))


def labels_missed() -> list[str]:
    """Labels that an image or a size requires and no host has."""
    required = [*Image.objects.values_list("requires", flat=True), *Flavour.objects.values_list("requires", flat=True)]
    there = Host.objects.values_list("labels", flat=True)
    return sorted(labels_of(" ".join(required)) - labels_of(" ".join(there)))


def condition(host: Host) -> tuple[str, str]:
    """A key and the words for how the host is."""
    if host.problem:
        return "problem", _("Has a problem")
    if not host.reachable:
        return "unseen", _("Not seen")
    if host.closed_at:
        return "closed", _("Closed: nothing starts here")
    return ("well", _("Well")) if host.enabled else ("drained", _("Takes no new machines"))


@admin.register(Host)
class HostAdmin(ModelAdmin):
    """Staff decide how a host is used; what it has, the observer writes."""

    list_display = ["name", "how", "labels", "machines", "cpus", "memory", "disk", "seen", "trouble"]
    list_filter = ["enabled"]
    search_fields = ["name", "uri"]
    actions = ["drain", "take"]
    actions_submit_line = ["test_connection"]
    actions_detail = ["machines_on_it"]
    change_form_outer_before_template = "admin/instances/host/_asked.html"
    fieldsets = [
        (None, {"fields": ["name", "uri", "enabled", "labels", "virtualisation"]}),
        (
            gettext_lazy("What the host said last"),
            {"fields": [
                "in_words", "trouble", "seen", "found",
                ("cpus", "memory_mib"), ("disk_gib", "disk_free_gib"), "orphans",
            ]},
        ),
        (gettext_lazy("Images on it"), {"fields": ["carried"]}),
        (gettext_lazy("Storage and network of the machines"), {"fields": [
            ("pool_name", "pool_path"), ("network_name", "network_cidr"), "blocked_networks", "console_address",
        ]}),
        (gettext_lazy("How much it may promise"), {"fields": [
            ("cpu_overcommit", "memory_reserved_mib"), ("disk_overcommit", "disk_reserved_gib"),
        ]}),
    ]  # fmt: skip
    readonly_fields = [
        "in_words",
        "seen",
        "found",
        "cpus",
        "memory_mib",
        "disk_gib",
        "disk_free_gib",
        "orphans",
        "trouble",
        "carried",
    ]

    class Media:
        js = ["admin/host-check.js", carrying.SCRIPT]

    def get_urls(self) -> list[URLPattern]:
        news = path("<int:pk>/news/", self.admin_site.admin_view(self.news), name="instances_host_news")
        return [news, *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Host]:
        hosts: QuerySet[Host] = super().get_queryset(request)
        return hosts.annotate(carried=Count("instances", filter=Q(instances__state__in=LIVE)))

    def get_readonly_fields(self, request: HttpRequest, obj: Host | None = None) -> list[str]:
        """While a host carries machines, they would be lost from sight if it were looked for elsewhere."""
        carries = obj is not None and obj.instances.filter(state__in=ON_HOST).exists()
        fixed = ["uri", "pool_name", "pool_path", "network_name", "network_cidr"] if carries else []
        return [*self.readonly_fields, *fixed]

    def get_fieldsets(self, request: HttpRequest, obj: Host | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        return fieldsets if obj else [part for part in fieldsets if not {"found", "carried"} & set(part[1]["fields"])]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "blocked_networks":
            field.widget.attrs["rows"] = 3
            field.help_text = _("Networks such as 10.0.0.0/8, each on its own line.")
        return field

    def changeform_view(
        self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """Without “add another”: a host is tested before the next, and the row of buttons fits a narrow window."""
        context = {**(extra_context or {}), "show_save_and_add_another": False}
        return super().changeform_view(request, object_id, form_url, context)

    def save_model(self, request: HttpRequest, obj: Host, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change or HOW_TO_REACH & set(form.changed_data):
            ask(obj)
        if obj.enabled and obj.closed_at:
            draining.bring_back(obj, cast(User, request.user))
        if missed := labels_missed():
            messages.warning(request, _("No host has these labels, which images or sizes require: %(labels)s")
                             % {"labels": ", ".join(missed)})  # fmt: skip

    def news(self, request: HttpRequest, pk: int) -> JsonResponse:
        """Whether the host has answered: seen or found faulty since it was asked."""
        host = get_object_or_404(Host, pk=pk)
        since = request.GET.get("since", "")
        seen = host.seen_at.timestamp() if host.seen_at else 0.0
        answered = bool(host.problem) or seen >= (float(since) if since.replace(".", "", 1).isdigit() else 0.0)
        return JsonResponse({"answered": answered})

    @action(description=gettext_lazy("Save and test the connection"), permissions=["change"])
    def test_connection(self, request: HttpRequest, obj: Host) -> None:
        ask(obj)

    def response_change(self, request: HttpRequest, obj: Host) -> HttpResponse:
        pressed = f"{obj._meta.app_label}_{obj._meta.model_name}_test_connection" in request.POST
        return self._to_answer(obj) if pressed else super().response_change(request, obj)

    def response_add(self, request: HttpRequest, obj: Host, post_url_continue: str | None = None) -> HttpResponse:
        staying = not {"_addanother", "_popup"} & set(request.POST)
        return self._to_answer(obj) if staying else super().response_add(request, obj, post_url_continue)

    def _to_answer(self, host: Host) -> HttpResponse:
        """The host's page, which waits for the answer and then shows it."""
        page = reverse("admin:instances_host_change", args=[host.pk])
        return HttpResponseRedirect(f"{page}?asked={timezone.now().timestamp():.3f}")

    @action(description=gettext_lazy("Take no new machines (drain)"), permissions=["change"])
    def drain(self, request: HttpRequest, queryset: QuerySet[Host]) -> None:
        count = queryset.update(enabled=False)
        messages.success(request, _("%(count)d hosts take no new machines; those that run stay.") % {"count": count})

    @action(description=gettext_lazy("Take new machines again"), permissions=["change"])
    def take(self, request: HttpRequest, queryset: QuerySet[Host]) -> None:
        hosts = list(queryset)
        for host in hosts:
            draining.bring_back(host, cast(User, request.user))
        messages.success(request, _("%(count)d hosts take new machines.") % {"count": len(hosts)})

    @action(description=gettext_lazy("What is on it, and emptying it"), permissions=["view"], url_path="machines")
    def machines_on_it(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return machines_page(request, object_id, may_change=self.has_change_permission(request))

    @display(
        description=gettext_lazy("condition"),
        label={"problem": "danger", "unseen": "warning", "closed": "warning", "drained": "info", "well": "success"},
    )
    def how(self, host: Host) -> tuple[str, str]:
        return condition(host)

    @display(description=gettext_lazy("condition"))
    def in_words(self, host: Host) -> str:
        return condition(host)[1]

    @display(description=gettext_lazy("problem"))
    def trouble(self, host: Host) -> str:
        return told(host.problem) or "–"

    @display(description=gettext_lazy("disks without a machine"))
    def orphans(self, host: Host) -> str:
        if not host.leftovers:
            return _("none")
        lines = format_html_join("", "<li><code>{}</code> · {}</li>", (
            (volume["name"], filesizeformat(volume["bytes"])) for volume in host.leftovers
        ))  # fmt: skip
        advice = _("VISA never removes them. Remove on the host what nobody needs any more:")
        command = f"virsh vol-delete --pool {host.pool_name} NAME"
        return format_html("<ul>{}</ul><p>{}</p><pre>{}</pre>", lines, advice, command)

    @display(description=gettext_lazy("images"))
    def carried(self, host: Host) -> str:
        return carrying.table(host.carriages.select_related("image").order_by("image__name"), of="host")

    @display(description=gettext_lazy("last seen"), ordering="seen_at")
    def seen(self, host: Host) -> str:
        return _("%(time)s ago") % {"time": timesince(host.seen_at)} if host.seen_at else _("never")

    @display(description=gettext_lazy("machines"), ordering="carried")
    def machines(self, host: Host) -> int:
        return int(getattr(host, "carried", 0))

    @display(description=gettext_lazy("memory"), ordering="memory_mib")
    def memory(self, host: Host) -> str:
        return f"{host.memory_mib / 1024:.0f} GiB"

    @display(description=gettext_lazy("disk free"), ordering="disk_free_gib")
    def disk(self, host: Host) -> str:
        return _("%(free)d of %(all)d GiB") % {"free": host.disk_free_gib, "all": host.disk_gib}


@admin.register(PlacementPolicy)
class PlacementPolicyAdmin(OneRow):
    """Saved, it holds for the next machine."""

    fields = ["strategy"]
