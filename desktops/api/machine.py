"""What every address of the API below a machine has in common: who may find it, and how refusals are told."""

from __future__ import annotations

from typing import Any, cast

from django.http import Http404
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers, views
from rest_framework.request import Request
from rest_framework.response import Response

from desktops import access
from desktops.access import Relation
from experiments.models import User
from instances.actions import Refused
from instances.api import BAD, CONFLICT, FORBIDDEN, told
from instances.models import Instance

DONE = OpenApiResponse(description=_("Done."))
REFUSALS = {400: BAD, 403: FORBIDDEN, 409: CONFLICT}


class AtMachine(views.APIView):
    """Finds the machine for those who may know of it, and tells refusals as HTTP does."""

    user: User
    instance: Instance
    relation: Relation

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.user = cast(User, request.user)
        found = access.find(self.user, kwargs["uuid"])
        if found is None:
            raise Http404
        self.instance, self.relation = found

    def handle_exception(self, exc: Exception) -> Response:
        return super().handle_exception(told(exc) if isinstance(exc, Refused) else exc)

    def asked(self, kind: type[serializers.Serializer[Any]], data: Any, *, partial: bool = False) -> dict[str, Any]:
        """What was asked, or 400."""
        serializer = kind(data=data, partial=partial)
        serializer.is_valid(raise_exception=True)
        values: dict[str, Any] = serializer.validated_data
        return values
