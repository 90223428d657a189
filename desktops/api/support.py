"""The API of support: what one supports, asking to join, answering, and calls for help. The pages' rules hold."""

from __future__ import annotations

from typing import Any, cast

from django.http import Http404
from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from desktops import support
from desktops.access import Relation
from desktops.api.machine import DONE, REFUSALS, AtMachine
from desktops.models import AccessRequest, HelpRequest
from desktops.support import MAX_MESSAGE, MAX_REASON, Answer
from desktops.supported import Case, Filter, Sign, cases_for, machines_for
from experiments.models import User
from experiments.serializers import ExperimentSerializer, PersonSerializer
from instances.models import Instance
from instances.models.instance import InstanceQuerySet

SHOWN = 50


class AccessSerializer(serializers.ModelSerializer[AccessRequest]):
    """Support at a machine: asked for, given, over."""

    who = PersonSerializer(source="asker", read_only=True)
    control = serializers.BooleanField(source="wants_control", read_only=True)

    class Meta:
        model = AccessRequest
        fields = ["uuid", "who", "kind", "state", "reason", "minutes", "control", "created_at", "expires_at"]
        fields += ["answered_at", "role", "until"]
        read_only_fields = fields


class CallSerializer(serializers.ModelSerializer[HelpRequest]):
    """A call for help."""

    by = PersonSerializer(read_only=True)
    taken_by = PersonSerializer(read_only=True)

    class Meta:
        model = HelpRequest
        fields = ["uuid", "by", "message", "created_at", "escalated_at", "taken_by", "taken_at", "closed_at"]
        read_only_fields = fields


class SignSerializer(serializers.Serializer[Sign]):
    name = serializers.CharField()
    value = serializers.CharField()
    tone = serializers.ChoiceField([(tone, tone) for tone in ("good", "busy", "warn", "bad", "rest")])


class CaseSerializer(serializers.Serializer[Case]):
    """A machine that you may support, with what you may do now."""

    uuid = serializers.UUIDField(source="instance.uuid")
    name = serializers.CharField(source="instance.name")
    state = serializers.CharField(source="instance.state")
    owner = PersonSerializer(source="instance.owner")
    experiments = ExperimentSerializer(source="instance.experiments", many=True)
    owner_here = serializers.BooleanField()
    people = serializers.IntegerField(help_text=_("At the screen now, the owner too."))
    call = CallSerializer(allow_null=True)
    mine = AccessSerializer(allow_null=True)
    may_ask = serializers.BooleanField()
    may_enter = serializers.BooleanField()
    may_open = serializers.BooleanField()
    health = serializers.SerializerMethodField()

    @extend_schema_field(SignSerializer(many=True))
    def get_health(self, case: Case) -> Any:
        return [sign._asdict() for sign in case.signs]


class EnterSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=MAX_REASON)
    minutes = serializers.IntegerField(min_value=1, max_value=1440)


class AskSerializer(EnterSerializer):
    control = serializers.BooleanField(default=True, help_text=_("Else you ask to watch."))


class AnswerSerializer(serializers.Serializer[Any]):
    answer = serializers.ChoiceField([(one.value, one.value) for one in Answer])


class EndSerializer(serializers.Serializer[Any]):
    user = serializers.SlugRelatedField(
        slug_field="uuid",
        queryset=User.objects.all(),
        required=False,
        default=None,
        help_text=_("Whose support the owner ends; else all of it. A supporter ends their own."),
    )


class CallingSerializer(serializers.Serializer[Any]):
    message = serializers.CharField(max_length=MAX_MESSAGE, required=False, default="", allow_blank=True)


class SupportedView(generics.ListAPIView[Any]):
    """The machines that you may support; who calls for help comes first. 404 for who supports nobody."""

    serializer_class = CaseSerializer
    queryset = Instance.objects.none()
    filter_backends: list[Any] = []

    @extend_schema(
        operation_id="supported_list",
        parameters=[
            OpenApiParameter("q", str, description=_("Words of owner, name, proposal or instrument.")),
            OpenApiParameter("state", str, enum=["running", "hand", "working", "resting"]),
            OpenApiParameter("instrument", str, description=_("The instrument's code.")),
            OpenApiParameter("help", bool, description=_("Only those that call for help.")),
        ],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> InstanceQuerySet:
        user = cast(User, self.request.user)
        if not user.supports:
            raise Http404
        return Filter(self.request.GET).apply(machines_for(user)).prefetch_related("experiments__cycle")

    def paginate_queryset(self, queryset: Any) -> Any:
        machines = super().paginate_queryset(queryset) or []
        return cases_for(cast(User, self.request.user), list(machines))


class SupportView(AtMachine):
    @extend_schema(operation_id="support_list", responses={200: AccessSerializer(many=True)})
    def get(self, request: Request, **kwargs: Any) -> Response:
        """Support at this machine, newest first: all of it for its owner, their own for others; 50 at most."""
        accesses = AccessRequest.objects.filter(instance=self.instance).select_related("asker__affiliation")
        seen = accesses if self.relation is Relation.OWNER else accesses.filter(asker=self.user)
        return Response(AccessSerializer(seen[:SHOWN], many=True).data)


class AskView(AtMachine):
    @extend_schema(operation_id="support_ask", request=AskSerializer, responses={201: AccessSerializer, **REFUSALS})
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Ask the owner to be let in. Asking again is harmless: the same request is answered."""
        asked = support.ask(self.instance, self.user, **self.asked(AskSerializer, request.data))
        return Response(AccessSerializer(asked).data, status=status.HTTP_201_CREATED)


class CancelView(AtMachine):
    @extend_schema(operation_id="support_cancel", request=None, responses={204: DONE, **REFUSALS})
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Take your request back."""
        support.cancel(self.instance, self.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class EnterView(AtMachine):
    @extend_schema(operation_id="support_enter", request=EnterSerializer, responses={201: AccessSerializer, **REFUSALS})
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Go in while the owner is away, where the facility allows it. The owner is told."""
        entered = support.enter(self.instance, self.user, **self.asked(EnterSerializer, request.data))
        return Response(AccessSerializer(entered).data, status=status.HTTP_201_CREATED)


class AnswerView(AtMachine):
    @extend_schema(
        operation_id="support_answer", request=AnswerSerializer, responses={200: AccessSerializer, **REFUSALS}
    )
    def post(self, request: Request, **kwargs: Any) -> Response:
        """The owner lets the supporter in, with control or to watch, or does not."""
        requests = AccessRequest.objects.select_related("instance__owner", "asker__affiliation")
        waiting = get_object_or_404(requests, instance=self.instance, uuid=kwargs["asked"])
        support.answer(waiting, self.user, Answer(self.asked(AnswerSerializer, request.data)["answer"]))
        waiting.refresh_from_db()
        return Response(AccessSerializer(waiting).data)


class EndView(AtMachine):
    @extend_schema(operation_id="support_end", request=EndSerializer, responses={204: DONE, **REFUSALS})
    def post(self, request: Request, **kwargs: Any) -> Response:
        """End support before its time."""
        support.end(self.instance, self.user, self.asked(EndSerializer, request.data)["user"])
        return Response(status=status.HTTP_204_NO_CONTENT)


class HelpView(AtMachine):
    @extend_schema(operation_id="help_call", request=CallingSerializer, responses={201: CallSerializer, **REFUSALS})
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Call for help: your local contacts are told, then IT. Calling again is harmless."""
        called = support.call(self.instance, self.user, **self.asked(CallingSerializer, request.data))
        return Response(CallSerializer(called).data, status=status.HTTP_201_CREATED)


class TakeView(AtMachine):
    @extend_schema(operation_id="help_take", request=None, responses={204: DONE, **REFUSALS})
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Answer the call: you may come in at once."""
        support.take(self.instance, self.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class CloseView(AtMachine):
    @extend_schema(operation_id="help_close", request=None, responses={204: DONE, **REFUSALS})
    def post(self, request: Request, **kwargs: Any) -> Response:
        """The call is done."""
        support.close(self.instance, self.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


urlpatterns = [
    path("supported/", SupportedView.as_view(), name="api-supported"),
    path("instances/<uuid:uuid>/support/", SupportView.as_view(), name="api-support"),
    path("instances/<uuid:uuid>/support/ask/", AskView.as_view(), name="api-support-ask"),
    path("instances/<uuid:uuid>/support/cancel/", CancelView.as_view(), name="api-support-cancel"),
    path("instances/<uuid:uuid>/support/enter/", EnterView.as_view(), name="api-support-enter"),
    path("instances/<uuid:uuid>/support/<uuid:asked>/answer/", AnswerView.as_view(), name="api-support-answer"),
    path("instances/<uuid:uuid>/support/end/", EndView.as_view(), name="api-support-end"),
    path("instances/<uuid:uuid>/help/", HelpView.as_view(), name="api-help"),
    path("instances/<uuid:uuid>/help/take/", TakeView.as_view(), name="api-help-take"),
    path("instances/<uuid:uuid>/help/close/", CloseView.as_view(), name="api-help-close"),
]
