"""`/api/v1/`: everything that the pages can do, for programs. The schema and a page to try it are beside it."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Any, cast

from django.conf import settings
from django.db.models import QuerySet
from django.urls import include, path
from django.utils import timezone
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework import exceptions, generics, mixins, permissions, serializers, status, views, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import DefaultRouter

from experiments.api import ExperimentViewSet
from experiments.models import Role, RoleGrant, User
from instances import actions
from instances.api import (
    BAD,
    CONFLICT,
    FORBIDDEN,
    Conflict,
    FlavourViewSet,
    ImageViewSet,
    InstanceViewSet,
    PlanViewSet,
)
from instances.models import Instance
from visa_site.models import PersonalToken
from visa_site.tokens import DEFAULT_DAYS, MAX_DAYS, TooManyTokens, issue, valid_tokens


class RoleSerializer(serializers.ModelSerializer[RoleGrant]):
    role = serializers.ChoiceField(choices=Role.choices, read_only=True)
    name = serializers.CharField(source="get_role_display", read_only=True)

    class Meta:
        model = RoleGrant
        fields = ["role", "name", "expires_at"]
        read_only_fields = fields


class QuotaSerializer(serializers.Serializer[Any]):
    machines = serializers.IntegerField(help_text=gettext_lazy("Machines that you own now."))
    at_most = serializers.IntegerField(help_text=gettext_lazy("Machines that you may own."))


class MeSerializer(serializers.ModelSerializer[User]):
    """You, as VISA knows you. Only the language is yours to change here; the user office knows the rest."""

    name = serializers.CharField(source="__str__", read_only=True)
    affiliation = serializers.CharField(source="affiliation.__str__", default="", read_only=True)
    roles = serializers.SerializerMethodField()
    quota = serializers.SerializerMethodField()
    language = serializers.ChoiceField(choices=settings.LANGUAGES, allow_blank=True, required=False)

    class Meta:
        model = User
        fields = ["uuid", "username", "name", "email", "affiliation", "language", "roles", "quota"]
        read_only_fields = ["uuid", "username", "email"]

    @extend_schema_field(RoleSerializer(many=True))
    def get_roles(self, user: User) -> Any:
        now = timezone.now()
        return RoleSerializer([grant for grant in user.role_grants.all() if grant.in_force(now)], many=True).data

    @extend_schema_field(QuotaSerializer)
    def get_quota(self, user: User) -> dict[str, int]:
        owned = Instance.objects.live().filter(owner=user).count()
        return {"machines": owned, "at_most": actions.quota_of(user)}


class MeView(generics.RetrieveUpdateAPIView[User]):
    """Who you are, your roles, and how many machines you may have."""

    serializer_class = MeSerializer
    queryset = User.objects.select_related("affiliation").prefetch_related("role_grants")
    http_method_names = ["get", "patch", "head", "options"]

    def get_object(self) -> User:
        return self.get_queryset().get(pk=cast(User, self.request.user).pk)


class TokenSerializer(serializers.ModelSerializer[PersonalToken]):
    created_at = serializers.DateTimeField(source="created", read_only=True)
    expires_at = serializers.DateTimeField(source="expiry", read_only=True)

    class Meta:
        model = PersonalToken
        fields = ["uuid", "name", "created_at", "expires_at"]
        read_only_fields = fields


class NewTokenSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=60, allow_blank=True, default="")
    days = serializers.IntegerField(min_value=1, max_value=MAX_DAYS, default=DEFAULT_DAYS)


class ShownTokenSerializer(TokenSerializer):
    """The only answer that holds the token itself."""

    token = serializers.CharField(read_only=True)

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]
        read_only_fields = fields


class TokenViewSet(mixins.ListModelMixin, mixins.DestroyModelMixin, viewsets.GenericViewSet[PersonalToken]):
    """Your valid tokens. Deleting one revokes it at once."""

    serializer_class = TokenSerializer
    queryset = PersonalToken.objects.none()
    lookup_field = "uuid"
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[PersonalToken]:
        return valid_tokens(cast(User, self.request.user))

    @extend_schema(
        request=NewTokenSerializer,
        responses={
            201: OpenApiResponse(ShownTokenSerializer, gettext_lazy("`token` is shown this once.")),
            400: BAD,
            403: FORBIDDEN,
            409: CONFLICT,
        },
    )
    def create(self, request: Request) -> Response:
        """Make a token. One made with another token does not outlive it."""
        asked = NewTokenSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        self._check_reach(asked.validated_data["days"])
        try:
            token, text = issue(cast(User, request.user), **asked.validated_data)
        except TooManyTokens as refusal:
            raise Conflict(str(refusal)) from refusal
        shown = dict(TokenSerializer(token).data) | {"token": text}
        return Response(shown, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})

    def _check_reach(self, days: int) -> None:
        used = self.request.auth
        if isinstance(used, PersonalToken) and used.expiry and timezone.now() + timedelta(days=days) > used.expiry:
            raise exceptions.PermissionDenied(
                _("A token cannot make one that outlives it. Ask for fewer days, or make it on your profile page.")
            )


@lru_cache(maxsize=8)
def _schema(language: str | None) -> dict[str, Any]:
    """The document in one language. Making it takes a second, and anybody may ask for it."""
    schema: dict[str, Any] = SpectacularAPIView.generator_class().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return schema


class SchemaView(SpectacularAPIView):
    def _get_schema_response(self, request: Request) -> Response:
        return Response(_schema(get_language()))


class UnknownView(views.APIView):
    """Answers as the API does where nothing is, and not with a page."""

    permission_classes = [permissions.AllowAny]
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise exceptions.NotFound


router = DefaultRouter(use_regex_path=False)
router.include_format_suffixes = False
router.register("experiments", ExperimentViewSet, basename="api-experiment")
router.register("images", ImageViewSet, basename="api-image")
router.register("flavours", FlavourViewSet, basename="api-flavour")
router.register("plans", PlanViewSet, basename="api-plan")
router.register("instances", InstanceViewSet, basename="api-instance")
router.register("tokens", TokenViewSet, basename="api-token")

urlpatterns = [
    path("me/", MeView.as_view(), name="api-me"),
    path("schema/", SchemaView.as_view(), name="api-schema"),
    path(
        "docs/",
        SpectacularSwaggerSplitView.as_view(url_name="api-schema", template_name="api/docs.html"),
        name="api-docs",
    ),
    path("", include("desktops.api.room")),
    path("", include("desktops.api.runs")),
    path("", include("desktops.api.support")),
    path("", include("desktops.api.sharing")),
    path("", include(router.urls)),
    path("<path:unknown>", UnknownView.as_view()),
]
