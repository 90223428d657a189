"""The API of machines and of what is on offer. It asks `actions`, as the pages do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import django_filters
from django.db.models import Min, Prefetch, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, inline_serializer
from rest_framework import exceptions, mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from experiments.access import experiments_for
from experiments.models import Experiment, User
from instances import actions, history, life, sight
from instances.models import Flavour, Image, Instance, Member, Plan, Thumbnail
from instances.models.catalogue import PlanQuerySet, plans_for
from instances.models.instance import InstanceQuerySet
from instances.serializers import (
    MAX_EXPERIMENTS,
    AwakeSerializer,
    EventSerializer,
    FlavourSerializer,
    ImageSerializer,
    InstanceNameSerializer,
    InstanceSerializer,
    LastMomentSerializer,
    MoreTimeSerializer,
    PlanSerializer,
    WishSerializer,
)
from instances.states import LIVE, State


class Conflict(exceptions.APIException):
    """The machine, or the facility, is not in a state in which that is possible."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


def told(refusal: actions.Refused) -> exceptions.APIException:
    """A refusal as HTTP says it: 403, 400 with the field named, or 409."""
    if isinstance(refusal, actions.NotAllowed):
        return exceptions.PermissionDenied(str(refusal))
    if refusal.field:
        return exceptions.ValidationError({refusal.field: [str(refusal)]})
    return Conflict(str(refusal))


DETAIL = inline_serializer("Detail", {"detail": serializers.CharField()})
BAD = OpenApiResponse(OpenApiTypes.OBJECT, _("Field names, each with a list of sentences."))
FORBIDDEN = OpenApiResponse(DETAIL, _("You may see this machine but not do this."))
CONFLICT = OpenApiResponse(DETAIL, _("Not possible now; the sentence says why."))
CHANGE = {202: InstanceSerializer, 403: FORBIDDEN, 409: CONFLICT}


class InstanceFilter(django_filters.FilterSet):
    state = django_filters.MultipleChoiceFilter(
        choices=[(state.value, state.value) for state in State],
        label="May be given several times; else all but deleted",
    )
    whose = django_filters.ChoiceFilter(
        choices=[("mine", "mine"), ("shared", "shared"), ("all", "all")],
        method="belonging",
        label="Your own, those shared with you, or all that you may see; else your own and those shared with you",
    )
    experiment = django_filters.UUIDFilter("experiments__uuid", label="The experiment's id")

    class Meta:
        model = Instance
        fields: list[str] = []

    def belonging(self, machines: InstanceQuerySet, name: str, value: str) -> InstanceQuerySet:
        if value == "mine":
            return machines.filter(owner=self.request.user)
        return machines.exclude(owner=self.request.user) if value == "shared" else machines

    def filter_queryset(self, queryset: InstanceQuerySet) -> InstanceQuerySet:
        machines: InstanceQuerySet = super().filter_queryset(queryset)
        asked = self.form.cleaned_data
        if not asked["state"]:
            machines = machines.filter(state__in=LIVE)
        if asked["whose"] != "all":
            machines = machines.filter(pk__in=Member.objects.filter(user=self.request.user).values("instance"))
        return machines


class InstanceViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Instance]):
    """Machines that you own or that are shared with you. Another's machine is not found."""

    serializer_class = InstanceSerializer
    filterset_class = InstanceFilter
    queryset = Instance.objects.none()
    lookup_field = "uuid"
    lookup_value_converter = "uuid"

    def get_queryset(self) -> InstanceQuerySet:
        user = _user(self.request)
        mine = Prefetch("members", Member.objects.filter(user=user), to_attr="my_membership")
        machines = Instance.objects.visible_to(user).with_details()
        return machines.prefetch_related(mine, "plan__image__protocols", "experiments__cycle", "owner__role_grants")

    @extend_schema(request=WishSerializer, responses={201: InstanceSerializer, 400: BAD, 409: CONFLICT})
    def create(self, request: Request) -> Response:
        """Ask for a machine. It is made in the background: look at `state` and `steps` until it is `ready`."""
        asked = WishSerializer(data=request.data, context=self.get_serializer_context())
        asked.is_valid(raise_exception=True)
        try:
            made = actions.create(_user(request), asked.wish())
        except actions.Refused as refusal:
            raise told(refusal) from refusal
        return self._show(made, status.HTTP_201_CREATED)

    @extend_schema(request=InstanceNameSerializer, responses={200: InstanceSerializer, 400: BAD, 403: FORBIDDEN})
    def partial_update(self, request: Request, **kwargs: Any) -> Response:
        """Change name and notes."""
        instance = self.get_object()
        asked = InstanceNameSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        names = {"name": instance.name, "comments": instance.comments} | asked.validated_data
        try:
            actions.rename(instance, _user(request), **names)
        except actions.Refused as refusal:
            raise told(refusal) from refusal
        return self._show(instance, status.HTTP_200_OK)

    @extend_schema(responses=CHANGE)
    def destroy(self, request: Request, **kwargs: Any) -> Response:
        """Put the machine into the recycle bin, where its disk is kept for a while. Asking again is harmless."""
        return self._ask(actions.delete)

    @extend_schema(request=None, responses=CHANGE)
    @action(detail=True, methods=["post"])
    def start(self, request: Request, **kwargs: Any) -> Response:
        """Power on, or wake from hibernation. Asking again is harmless."""
        return self._ask(actions.start)

    @extend_schema(request=None, responses=CHANGE)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, **kwargs: Any) -> Response:
        """Shut down. What was not saved in it is lost. Asking again is harmless."""
        return self._ask(actions.stop)

    @extend_schema(request=None, responses=CHANGE)
    @action(detail=True, methods=["post"])
    def reboot(self, request: Request, **kwargs: Any) -> Response:
        """Restart. What was not saved in it is lost."""
        return self._ask(actions.reboot)

    @extend_schema(request=None, responses=CHANGE)
    @action(detail=True, methods=["post"])
    def hibernate(self, request: Request, **kwargs: Any) -> Response:
        """Put to sleep: programs wait as they are until `start`. Asking again is harmless."""
        return self._ask(actions.hibernate)

    @extend_schema(request=None, responses=CHANGE)
    @action(detail=True, methods=["post"], url_path="bring-back")
    def bring_back(self, request: Request, **kwargs: Any) -> Response:
        """Out of the recycle bin: stopped, with its disk as it was."""
        return self._ask(life.bring_back)

    @extend_schema(request=None, responses=CHANGE)
    @action(detail=True, methods=["post"], url_path="delete-for-good")
    def delete_for_good(self, request: Request, **kwargs: Any) -> Response:
        """Empty the recycle bin of this machine: its disk is lost."""
        return self._ask(life.delete_for_good)

    @extend_schema(request=AwakeSerializer, responses=CHANGE | {400: BAD})
    @action(detail=True, methods=["post"], url_path="keep-awake")
    def keep_awake(self, request: Request, **kwargs: Any) -> Response:
        """Do not let it fall asleep for so many days, though nothing shows its work."""
        days = self._asked(AwakeSerializer)["days"]
        return self._ask(lambda instance, by: life.keep_awake(instance, by, days))

    @extend_schema(request=LastMomentSerializer, responses=CHANGE | {400: BAD})
    @action(detail=True, methods=["post"], url_path="set-end")
    def set_end(self, request: Request, **kwargs: Any) -> Response:
        """Give it an earlier end than `may_end_at`, or its full time again."""
        end = self._asked(LastMomentSerializer)["end"]
        return self._ask(lambda instance, by: life.set_end(instance, by, end))

    @extend_schema(request=MoreTimeSerializer, responses=CHANGE | {400: BAD})
    @action(detail=True, methods=["post"], url_path="ask-for-time")
    def ask_for_time(self, request: Request, **kwargs: Any) -> Response:
        """Ask staff for more time than `may_end_at`."""
        reason = self._asked(MoreTimeSerializer)["reason"]
        return self._ask(lambda instance, by: life.ask_for_time(instance, by, reason))

    @extend_schema(request=None, responses=CHANGE)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, **kwargs: Any) -> Response:
        """Try again after an error."""
        return self._ask(actions.retry)

    @extend_schema(responses=EventSerializer(many=True), filters=False)
    @action(detail=True, filterset_class=None)
    def history(self, request: Request, **kwargs: Any) -> Response:
        """What happened to the machine, its time and its people, newest first."""
        page = self.paginate_queryset(history.timeline(self._find()))
        return self.get_paginated_response(EventSerializer(history.told_of(page or []), many=True).data)

    @extend_schema(
        responses={(200, "image/webp"): OpenApiTypes.BINARY, 404: OpenApiResponse(DETAIL, _("No picture yet."))}
    )
    @action(detail=True)
    def thumbnail(self, request: Request, **kwargs: Any) -> HttpResponse:
        """The last small picture of the screen, for those who may see the screen now."""
        instance = self._find()
        seen = instance if sight.sees(_user(request), instance) else None
        picture = get_object_or_404(Thumbnail, instance=seen)
        return HttpResponse(
            bytes(picture.webp), content_type="image/webp", headers={"Cache-Control": "private, no-cache"}
        )

    def get_object(self) -> Instance:
        """Unlike the list, not filtered: a deleted machine, or one of others for support, is found by its id."""
        return get_object_or_404(self.get_queryset(), uuid=self.kwargs["uuid"])

    def _find(self) -> Instance:
        """The same, without its details."""
        seen = Instance.objects.visible_to(_user(self.request))
        return get_object_or_404(seen, uuid=self.kwargs["uuid"])

    def _asked(self, serializer: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        asked = serializer(data=self.request.data)
        asked.is_valid(raise_exception=True)
        return cast("dict[str, Any]", asked.validated_data)

    def _ask(self, ask: Callable[[Instance, User], object]) -> Response:
        instance = self.get_object()
        try:
            ask(instance, _user(self.request))
        except actions.Refused as refusal:
            raise told(refusal) from refusal
        return self._show(instance, status.HTTP_202_ACCEPTED)

    def _show(self, instance: Instance, code: int) -> Response:
        """The machine as it now is in the database."""
        return Response(self.get_serializer(self.get_queryset().get(pk=instance.pk)).data, status=code)


def _user(request: Request) -> User:
    return cast(User, request.user)


def offered(user: User, chosen: list[str] | None = None) -> PlanQuerySet:
    """The plans that the person may have with the `chosen` experiments, or with any of theirs when None.

    Raises ValidationError for experiments that are not theirs.
    """
    mine = experiments_for(user)
    if chosen is None:
        one_each = mine.order_by().values("instrument").annotate(one=Min("pk")).values("one")
        return plans_for(user, Experiment.objects.filter(pk__in=one_each))
    uuids = serializers.ListField(child=serializers.UUIDField(), max_length=MAX_EXPERIMENTS).run_validation(chosen)
    experiments = mine.filter(uuid__in=uuids)
    if len(experiments) != len(set(uuids)):
        raise exceptions.ValidationError({"experiments": [_("Choose among your own experiments.")]})
    return plans_for(user, experiments)


FOR_EXPERIMENTS = OpenApiParameter(
    "experiments",
    OpenApiTypes.UUID,
    many=True,
    description=_("Ids of the experiments that the machine is to have; else what is offered with any of yours."),
)


@extend_schema(parameters=[FOR_EXPERIMENTS])
class _Offered(mixins.ListModelMixin, viewsets.GenericViewSet[Any]):
    """Answers with what is offered for the experiments named in the address."""

    def plans(self) -> PlanQuerySet:
        given = self.request.query_params
        return offered(_user(self.request), given.getlist("experiments") if "experiments" in given else None)


class PlanViewSet(_Offered):
    """Which image is offered to you in which size."""

    serializer_class = PlanSerializer
    queryset = Plan.objects.none()

    def get_queryset(self) -> PlanQuerySet:
        return self.plans().prefetch_related("image__protocols")


class ImageViewSet(_Offered):
    """The images that are offered to you."""

    serializer_class = ImageSerializer
    queryset = Image.objects.none()

    def get_queryset(self) -> QuerySet[Image]:
        return Image.objects.filter(pk__in=self.plans().values("image")).prefetch_related("protocols")


class FlavourViewSet(_Offered):
    """The sizes that are offered to you."""

    serializer_class = FlavourSerializer
    queryset = Flavour.objects.none()

    def get_queryset(self) -> QuerySet[Flavour]:
        return Flavour.objects.filter(pk__in=self.plans().values("flavour"))
