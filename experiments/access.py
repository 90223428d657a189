"""Which experiments a person may work on."""

from experiments.models import Experiment, ExperimentQuerySet, Role, User


def experiments_for(user: User) -> ExperimentQuerySet:
    """The experiments a person may attach to a machine, most recent first: their own, and all for an administrator."""
    experiments = Experiment.objects.select_related("proposal", "instrument", "cycle")
    return experiments.all() if user.has_role(Role.ADMIN) else experiments.measured_by(user)


def may_work_without_experiment(user: User) -> bool:
    """Facility people and guests may have a machine of their own; a visitor's machine belongs to an experiment."""
    return user.has_role(
        Role.ADMIN,
        Role.STAFF,
        Role.GUEST,
        Role.IT_SUPPORT,
        Role.INSTRUMENT_CONTROL,
        Role.INSTRUMENT_SCIENTIST,
        Role.SCIENTIFIC_COMPUTING,
    )
