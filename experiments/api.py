"""The API's view of experiments: those that the asking person may attach to a machine."""

from __future__ import annotations

from typing import cast

import django_filters
from django.db.models import Q
from rest_framework import mixins, viewsets

from experiments.access import experiments_for
from experiments.models import Experiment, ExperimentQuerySet, User
from experiments.serializers import ExperimentSerializer


class ExperimentFilter(django_filters.FilterSet):
    search = django_filters.CharFilter(method="matching", label="Words in identifier, title or instrument")
    instrument = django_filters.CharFilter("instrument__code", label="The instrument's code")
    ends_after = django_filters.DateFilter("ends_at", "date__gte", label="Not over before this day (YYYY-MM-DD)")
    starts_before = django_filters.DateFilter("starts_at", "date__lte", label="Begun by this day (YYYY-MM-DD)")

    class Meta:
        model = Experiment
        fields: list[str] = []

    def matching(self, experiments: ExperimentQuerySet, name: str, value: str) -> ExperimentQuerySet:
        """Those in which every word occurs."""
        for word in value.split()[:10]:
            places = ("proposal__identifier", "proposal__title", "title", "instrument__name", "instrument__code")
            found = Q()
            for place in places:
                found |= Q(**{f"{place}__icontains": word})
            experiments = experiments.filter(found)
        return experiments


class ExperimentViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Experiment]):
    """Your experiments, most recent first."""

    serializer_class = ExperimentSerializer
    filterset_class = ExperimentFilter
    queryset = Experiment.objects.none()
    lookup_field = "uuid"
    lookup_value_converter = "uuid"

    def get_queryset(self) -> ExperimentQuerySet:
        return experiments_for(cast(User, self.request.user))
