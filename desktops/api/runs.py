"""The API of notebook runs: a notebook is executed in a machine, with parameters, and its result is fetched."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any
from uuid import UUID, uuid4

from django.http import Http404, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils.http import content_disposition_header
from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import pagination, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from desktops import runs
from desktops.access import may_enter_shell
from desktops.api.machine import REFUSALS, AtMachine
from desktops.models import NotebookRun
from desktops.models.runs import MAX_PATH
from desktops.shell.paths import shown
from experiments.serializers import PersonSerializer
from instances.api import CONFLICT, FORBIDDEN
from instances.models import Protocol
from instances.sentences import told

NOTEBOOK = "application/x-ipynb+json"


class RunSerializer(serializers.ModelSerializer[NotebookRun]):
    """Open while `state` is waiting or running; `stopping` says that somebody asked for its end."""

    by = PersonSerializer(read_only=True)
    problem = serializers.SerializerMethodField(help_text=_("What failed, or holds it up, in words."))
    stopping = serializers.SerializerMethodField()
    machine = serializers.CharField(
        source="instance.state", help_text=_("The machine's state: while it is not active, a run waits.")
    )

    class Meta:
        model = NotebookRun
        fields = ["uuid", "by", "notebook", "output", "state", "stopping", "problem", "cells_done", "cells"]
        fields += ["created_at", "started_at", "ended_at", "machine"]
        read_only_fields = fields

    def get_problem(self, run: NotebookRun) -> str:
        return told(run.problem)

    def get_stopping(self, run: NotebookRun) -> bool:
        return run.is_open and run.stop_asked_at is not None


class WholeRunSerializer(RunSerializer):
    """With its parameters, which lists leave out."""

    class Meta(RunSerializer.Meta):
        fields = [*RunSerializer.Meta.fields, "parameters"]
        read_only_fields = fields


class NewRunSerializer(serializers.Serializer[Any]):
    notebook = serializers.CharField(
        max_length=MAX_PATH, trim_whitespace=False, help_text=_("Its path, absolute or from the home.")
    )
    output = serializers.CharField(
        max_length=MAX_PATH,
        trim_whitespace=False,
        required=False,
        default="",
        allow_blank=True,
        help_text=_("Where the result goes. Nothing that is there is overwritten; else it lies beside the notebook."),
    )
    parameters = serializers.JSONField(
        required=False, default=dict, help_text=_("An object: what goes in after the cell that is tagged “parameters”.")
    )
    request_key = serializers.UUIDField(
        default=uuid4, help_text=_("Made by you: asking again with the same key finds the same run.")
    )


class _AtRuns(AtMachine):
    """For those who may be at the machine's files; others do not find its runs."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if not may_enter_shell(self.relation) or self.instance.plan.image.port(Protocol.SSH) is None:
            raise Http404
        runs.look(self.user, self.instance)

    def run_of(self, uuid: UUID) -> NotebookRun:
        return get_object_or_404(self.instance.notebook_runs.select_related("by__affiliation"), uuid=uuid)


class RunsView(_AtRuns):
    @extend_schema(operation_id="runs_list", responses={200: RunSerializer(many=True), 403: FORBIDDEN, 409: CONFLICT})
    def get(self, request: Request, **kwargs: Any) -> Response:
        """The machine's notebook runs, newest first."""
        pages = pagination.PageNumberPagination()
        rows = self.instance.notebook_runs.select_related("by__affiliation").defer("parameters")
        found = pages.paginate_queryset(rows, request, self)
        return pages.get_paginated_response(RunSerializer(found, many=True).data)

    @extend_schema(operation_id="runs_start", request=NewRunSerializer, responses={201: WholeRunSerializer, **REFUSALS})
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Have a notebook executed. It runs in the background: look at `state` until the run has ended."""
        made = runs.start(self.user, self.instance, runs.Wish(**self.asked(NewRunSerializer, request.data)))
        return Response(WholeRunSerializer(made).data, status=status.HTTP_201_CREATED)


class RunView(_AtRuns):
    @extend_schema(operation_id="runs_retrieve", responses={200: WholeRunSerializer, 403: FORBIDDEN, 409: CONFLICT})
    def get(self, request: Request, run: UUID, **kwargs: Any) -> Response:
        """How a run stands."""
        return Response(WholeRunSerializer(self.run_of(run)).data)


class StopView(_AtRuns):
    @extend_schema(
        operation_id="runs_stop", request=None, responses={202: WholeRunSerializer, 403: FORBIDDEN, 409: CONFLICT}
    )
    def post(self, request: Request, run: UUID, **kwargs: Any) -> Response:
        """Stop a run, with its kernel. Asking again is harmless."""
        runs.stop(self.user, self.run_of(run))
        return Response(WholeRunSerializer(self.run_of(run)).data, status=status.HTTP_202_ACCEPTED)


class ResultView(_AtRuns):
    @extend_schema(
        operation_id="runs_result",
        responses={
            (200, NOTEBOOK): OpenApiResponse(OpenApiTypes.BINARY, _("The notebook, with what its cells gave.")),
            403: FORBIDDEN,
            409: CONFLICT,
        },
    )
    def get(self, request: Request, run: UUID, **kwargs: Any) -> StreamingHttpResponse:
        """The result of a run that has ended, also of one that failed."""
        found = self.run_of(run)
        size, pieces = runs.fetch(self.user, found)
        name = shown(PurePosixPath(found.output).name.encode())
        headers = {
            "Content-Type": NOTEBOOK,
            "Content-Length": str(size),
            "Content-Disposition": content_disposition_header(True, name) or "attachment",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        return StreamingHttpResponse(pieces, headers=headers)


urlpatterns = [
    path("instances/<uuid:uuid>/runs/", RunsView.as_view(), name="api-runs"),
    path("instances/<uuid:uuid>/runs/<uuid:run>/", RunView.as_view(), name="api-run"),
    path("instances/<uuid:uuid>/runs/<uuid:run>/stop/", StopView.as_view(), name="api-run-stop"),
    path("instances/<uuid:uuid>/runs/<uuid:run>/result/", ResultView.as_view(), name="api-run-result"),
]
