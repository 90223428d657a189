"""How people and experiments look in the API. Public ids alone: no row number leaves."""

from rest_framework import serializers

from experiments.models import Experiment, Instrument, User


class PersonSerializer(serializers.ModelSerializer[User]):
    """A person as colleagues on the same machine may know them."""

    name = serializers.CharField(source="__str__", read_only=True)
    affiliation = serializers.CharField(source="affiliation.name", default="", read_only=True)

    class Meta:
        model = User
        fields = ["uuid", "name", "affiliation"]
        read_only_fields = fields


class InstrumentSerializer(serializers.ModelSerializer[Instrument]):
    class Meta:
        model = Instrument
        fields = ["code", "name", "description"]
        read_only_fields = fields


class ExperimentSerializer(serializers.ModelSerializer[Experiment]):
    title = serializers.CharField(source="headline", read_only=True)
    proposal = serializers.CharField(source="proposal.identifier", read_only=True)
    doi = serializers.CharField(source="proposal.doi", read_only=True)
    instrument = InstrumentSerializer(read_only=True)
    cycle = serializers.CharField(source="cycle.name", default=None, read_only=True, allow_null=True)

    class Meta:
        model = Experiment
        fields = ["uuid", "proposal", "title", "doi", "instrument", "cycle", "starts_at", "ends_at"]
        read_only_fields = fields
