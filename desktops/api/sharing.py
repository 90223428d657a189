"""The API of a machine's people and links: the same rules as the pages'."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404
from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import pagination, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from desktops import sharing
from desktops.access import Relation
from desktops.api.machine import DONE, REFUSALS, AtMachine
from desktops.models import Invitation
from desktops.models.sharing import MAX_USES, ROLES
from experiments.models import User
from instances import members
from instances.forms import printable
from instances.models import Member, MemberRole
from instances.serializers import MemberSerializer


class RoleSerializer(serializers.Serializer[Any]):
    role = serializers.ChoiceField(ROLES)


class PersonChoiceSerializer(serializers.Serializer[Any]):
    user = serializers.SlugRelatedField(
        slug_field="uuid", queryset=User.objects.filter(is_active=True), help_text=_("The person's id.")
    )


class NewMemberSerializer(PersonChoiceSerializer, RoleSerializer):
    """Whom to let in, and as what."""


class InvitationSerializer(serializers.ModelSerializer[Invitation]):
    class Meta:
        model = Invitation
        fields = ["uuid", "name", "role", "public", "created_at", "expires_at", "max_uses", "uses"]
        read_only_fields = fields


class NewInvitationSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80, validators=[printable], help_text=_("For whom the link is."))
    role = serializers.ChoiceField(ROLES)
    days = serializers.IntegerField(min_value=1, max_value=sharing.MAX_DAYS, default=7)
    uses = serializers.IntegerField(min_value=1, max_value=MAX_USES, default=1)


class ShownInvitationSerializer(InvitationSerializer):
    """The only answer that holds the link itself."""

    link = serializers.URLField(read_only=True)

    class Meta(InvitationSerializer.Meta):
        fields = [*InvitationSerializer.Meta.fields, "link"]
        read_only_fields = fields


SHOWN = OpenApiResponse(ShownInvitationSerializer, _("`link` is shown this once."))


class _AmongMembers(AtMachine):
    """Who came by a public link sees the screen alone."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.relation is Relation.PUBLIC:
            raise Http404

    def member(self, uuid: UUID) -> User:
        return get_object_or_404(Member.objects.select_related("user"), instance=self.instance, user__uuid=uuid).user

    def shown(self, made: tuple[Invitation, str]) -> Response:
        answer = dict(InvitationSerializer(made[0]).data) | {"link": made[1]}
        return Response(answer, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})


class MembersView(_AmongMembers):
    @extend_schema(operation_id="members_list", responses=MemberSerializer(many=True))
    def get(self, request: Request, **kwargs: Any) -> Response:
        """Who may use the machine, longest first."""
        pages = pagination.PageNumberPagination()
        rows = self.instance.members.select_related("user__affiliation").order_by("created_at", "pk")
        shown = MemberSerializer(pages.paginate_queryset(rows, request, self), many=True)
        return pages.get_paginated_response(shown.data)

    @extend_schema(
        operation_id="members_add", request=NewMemberSerializer, responses={201: MemberSerializer, **REFUSALS}
    )
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Let a person in. Asking again is harmless."""
        asked = self.asked(NewMemberSerializer, request.data)
        made = members.add(self.instance, self.user, asked["user"], MemberRole(asked["role"]))
        return Response(MemberSerializer(made).data, status=status.HTTP_201_CREATED)


class MemberView(_AmongMembers):
    @extend_schema(operation_id="members_change", request=RoleSerializer, responses={204: DONE, **REFUSALS})
    def patch(self, request: Request, person: UUID, **kwargs: Any) -> Response:
        """Give a member another role."""
        role = MemberRole(self.asked(RoleSerializer, request.data)["role"])
        members.change_role(self.instance, self.user, self.member(person), role)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(operation_id="members_remove", responses={204: DONE, **REFUSALS})
    def delete(self, request: Request, person: UUID, **kwargs: Any) -> Response:
        """Take a member off the machine, or leave it yourself."""
        members.remove(self.instance, self.user, self.member(person))
        return Response(status=status.HTTP_204_NO_CONTENT)


class HandoverView(_AmongMembers):
    @extend_schema(operation_id="handover", request=PersonChoiceSerializer, responses={204: DONE, **REFUSALS})
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Make a member the owner. Only they can give the machine back."""
        members.hand_over(self.instance, self.user, self.asked(PersonChoiceSerializer, request.data)["user"])
        return Response(status=status.HTTP_204_NO_CONTENT)


class InvitationsView(_AmongMembers):
    @extend_schema(operation_id="invitations_list", responses={200: InvitationSerializer(many=True), **REFUSALS})
    def get(self, request: Request, **kwargs: Any) -> Response:
        """The links that still let people in, the latest first, and the public one."""
        return Response(InvitationSerializer(sharing.links_of(self.instance, self.user), many=True).data)

    @extend_schema(operation_id="invitations_make", request=NewInvitationSerializer, responses={201: SHOWN, **REFUSALS})
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Make a link."""
        asked = self.asked(NewInvitationSerializer, request.data)
        role = MemberRole(asked.pop("role"))
        return self.shown(sharing.invite(self.instance, self.user, role=role, **asked))


class InvitationView(_AmongMembers):
    @extend_schema(operation_id="invitations_revoke", responses={204: DONE, **REFUSALS})
    def delete(self, request: Request, invitation: UUID, **kwargs: Any) -> Response:
        """Withdraw a link. Members stay; who only watches by it watches no more."""
        sharing.revoke(get_object_or_404(Invitation, instance=self.instance, uuid=invitation), self.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PublicLinkView(_AmongMembers):
    @extend_schema(operation_id="public_link_make", request=None, responses={201: SHOWN, **REFUSALS})
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Make the public view link, in place of the one there was."""
        return self.shown(sharing.open_to_all(self.instance, self.user))

    @extend_schema(operation_id="public_link_revoke", responses={204: DONE, **REFUSALS})
    def delete(self, request: Request, **kwargs: Any) -> Response:
        """Withdraw the public view link. None there is success."""
        sharing.close_to_all(self.instance, self.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


urlpatterns = [
    path("instances/<uuid:uuid>/members/", MembersView.as_view(), name="api-members"),
    path("instances/<uuid:uuid>/members/<uuid:person>/", MemberView.as_view(), name="api-member"),
    path("instances/<uuid:uuid>/handover/", HandoverView.as_view(), name="api-handover"),
    path("instances/<uuid:uuid>/invitations/", InvitationsView.as_view(), name="api-invitations"),
    path("instances/<uuid:uuid>/invitations/<uuid:invitation>/", InvitationView.as_view(), name="api-invitation"),
    path("instances/<uuid:uuid>/public-link/", PublicLinkView.as_view(), name="api-public-link"),
]
