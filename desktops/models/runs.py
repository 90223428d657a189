"""Notebooks that run in machines without anybody before them."""

from __future__ import annotations

from uuid import uuid4

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from experiments.models import User
from instances.models import Instance

MAX_PATH = 4000
MAX_PROBLEM = 500


class RunState(models.TextChoices):
    WAITING = "waiting", _("Waiting")
    RUNNING = "running", _("Running")
    DONE = "done", _("Done")
    FAILED = "failed", _("Failed")
    STOPPED = "stopped", _("Stopped")
    INTERRUPTED = "interrupted", _("Interrupted")


OPEN = (RunState.WAITING, RunState.RUNNING)


class NotebookRunQuerySet(models.QuerySet["NotebookRun"]):
    def open(self) -> NotebookRunQuerySet:
        """Those that have not ended."""
        return self.filter(state__in=OPEN)


class NotebookRun(models.Model):
    """A notebook that somebody had executed with parameters; its result is another notebook, `output`.

    Both are absolute paths in the machine. The row says what is wanted; at `due_at` workers ask how it stands there.
    """

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    request_key = models.UUIDField(default=uuid4, editable=False)
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="notebook_runs")
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("asked by"))
    notebook = models.CharField(_("notebook"), max_length=MAX_PATH)
    output = models.CharField(_("result"), max_length=MAX_PATH)
    parameters = models.JSONField(_("parameters"), default=dict)
    state = models.CharField(_("state"), max_length=12, choices=RunState.choices, default=RunState.WAITING)
    problem = models.CharField(_("problem"), max_length=MAX_PROBLEM, blank=True)
    cells_done = models.PositiveIntegerField(_("cells done"), null=True)
    cells = models.PositiveIntegerField(_("cells"), null=True)
    created_at = models.DateTimeField(_("asked"), default=timezone.now)
    started_at = models.DateTimeField(_("started"), null=True)
    stop_asked_at = models.DateTimeField(_("asked to stop"), null=True)
    ended_at = models.DateTimeField(_("ended"), null=True)
    due_at = models.DateTimeField(default=timezone.now)

    objects = NotebookRunQuerySet.as_manager()

    class Meta:
        verbose_name = _("notebook run")
        verbose_name_plural = _("notebook runs")
        ordering = ["-pk"]
        constraints = [models.UniqueConstraint(fields=["instance", "by", "request_key"], name="one_run_per_request")]
        indexes = [
            models.Index(fields=["instance", "-id"], name="runs_of_machine"),
            models.Index(fields=["due_at"], name="runs_due", condition=Q(state__in=["waiting", "running"])),
        ]

    def __str__(self) -> str:
        return self.notebook

    @property
    def is_open(self) -> bool:
        return self.state in OPEN
