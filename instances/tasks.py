"""What workers do: make the hosts agree with the rows. Every task takes ids and may run twice without harm."""

from __future__ import annotations

import logging
from contextlib import closing
from datetime import timedelta

from celery import shared_task
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_noop as _

from instances import carriage, moving, notices, pictures
from instances.drivers import open_host
from instances.drivers.base import DomainStatus, Driver, DriverError, HostUnreachable
from instances.drivers.storage import machine_of
from instances.judgement import RUNNING
from instances.leases import lease, unheld
from instances.models import Carriage, Host, IllegalTransition, Image, Instance, Stray, Superseded
from instances.models.fields import labels_of
from instances.specs import host_spec, instance_spec
from instances.states import WORKING, State

log = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=40)
"""How long a guest may take to shut down when asked, before its power is taken."""

CARRIES = timedelta(hours=6)
"""How long the copy of an image or of a machine's disk may take."""

RING_AGAIN = timedelta(seconds=5)
"""A machine in a WORKING state for longer, with no worker on it, is rung again by the sweep."""


def ring(instance_id: int) -> None:
    """After commit, ask a worker to look at this machine. A lost ring costs a delay: the sweep rings again."""
    transaction.on_commit(lambda: advance.delay(instance_id), robust=True)


@shared_task
def advance(instance_id: int) -> None:
    """Do the next piece of work that the machine's state asks for, as long as there is one."""
    with lease(instance_id) as mine:
        if not mine:
            return
        before = None
        while True:
            instance = Instance.objects.select_related("owner", "plan__image", "host").get(pk=instance_id)
            if instance.state not in WORKING or instance.state == before:
                return
            before = instance.state
            _work(instance)


def _work(instance: Instance) -> None:
    try:
        with closing(_open(instance)) as driver:
            WORK[State(instance.state)](driver, instance)
    except (Superseded, IllegalTransition):
        log.info("%s was moved by somebody else meanwhile", instance.uuid)
    except HostUnreachable as error:
        _wait(instance, str(error))
    except DriverError as error:
        log.warning("%s: %s", instance.uuid, error)
        if error.permanent:
            fail(instance, str(error))
        else:
            _wait(instance, str(error))
    except Exception:  # the one place where an unknown fault becomes ERROR
        log.exception("%s: unexpected fault while %s", instance.uuid, instance.state)
        fail(instance, _("Something unexpected happened. Try again; if it happens again, tell your local contact."))


def _open(instance: Instance) -> Driver:
    if instance.host is None:
        raise DriverError(_("This machine has no host."), permanent=True)
    if instance.host.lost:  # asking it would only keep a worker from the machines of other hosts
        raise HostUnreachable(_("Its host does not answer. It goes on by itself as soon as the host is back."))
    return open_host(host_spec(instance.host))


def _wait(instance: Instance, problem: str) -> None:
    """Keep the state and say what holds it up; the sweep rings again until the deadline."""
    if Instance.objects.filter(pk=instance.pk, state=instance.state).exclude(problem=problem).update(problem=problem):
        instance.tell("problem")


def fail(instance: Instance, reason: str) -> None:
    """Move to ERROR with a sentence for the owner.

    What was half made is taken off the host; a guest that hangs in its start is switched off, so that trying again
    starts it afresh and its memory serves others meanwhile.
    """
    origin = State(instance.state)
    to = State.ACTIVE if origin == State.HIBERNATING else State.ERROR  # what could not fall asleep works on
    try:
        instance.transition(to, reason=reason)
    except (Superseded, IllegalTransition):
        return
    if instance.built_at is None:
        _clear(instance)
    elif origin in {State.STARTING, State.REBOOTING}:
        _switch_off(instance)


def _switch_off(instance: Instance) -> None:
    try:
        with closing(_open(instance)) as driver:
            driver.stop(instance.uuid, force=True)
    except DriverError as error:
        log.warning("%s: could not be switched off: %s", instance.uuid, error)


def _clear(instance: Instance) -> None:
    try:
        with closing(_open(instance)) as driver:
            driver.destroy(instance.uuid)
    except DriverError as error:
        log.warning("%s: could not clear the host yet: %s", instance.uuid, error)


def _make(driver: Driver, instance: Instance) -> bool:
    """Whether its disk is made; not before its image is there, whose worker rings again."""
    if not _has_its_image(instance):
        return False
    driver.create(instance_spec(instance), step=lambda _name: instance.begin_step("disk"))
    instance.built_at = timezone.now()
    Instance.objects.filter(pk=instance.pk).update(built_at=instance.built_at)
    return True


def _has_its_image(instance: Instance) -> bool:
    if instance.host is None:
        return False
    carried = Carriage.of(instance.host, instance.plan.image)
    if carried.is_there:
        return True
    if carried.state == Carriage.State.FAILED and carried.since > instance.state_since:
        raise DriverError(carried.problem, permanent=True)
    instance.begin_step("image")
    carriage.ask(carried)
    ring_carriage(carried)
    if carried.problem:
        raise DriverError(carried.problem)
    return False


def _power_on(driver: Driver, instance: Instance) -> None:
    instance.begin_step("start")
    driver.start(instance.uuid)
    instance.begin_step("boot")


def _build(driver: Driver, instance: Instance) -> None:
    if not _make(driver, instance):
        return
    _power_on(driver, instance)
    instance.transition(State.STARTING, booted_at=timezone.now())


def _start(driver: Driver, instance: Instance) -> None:
    if instance.built_at is None and not _make(driver, instance):
        return
    _power_on(driver, instance)
    unmarked = Q(booted_at__isnull=True) | Q(booted_at__lt=instance.state_since)
    Instance.objects.filter(unmarked, pk=instance.pk).update(booted_at=timezone.now())


def _stop(driver: Driver, instance: Instance) -> None:
    if _is_off(driver, instance):
        instance.transition(State.STOPPED)


def _is_off(driver: Driver, instance: Instance) -> bool:
    """Whether it is off now; else it was asked to shut down, and after some patience its power is taken."""
    if not _is_running(driver, instance):
        return True
    patient = timezone.now() < instance.state_since + PATIENCE
    driver.stop(instance.uuid, force=not patient)
    return not patient


def _reboot(driver: Driver, instance: Instance) -> None:
    if instance.booted_at and instance.booted_at >= instance.state_since:
        return
    if not _is_running(driver, instance):
        driver.start(instance.uuid)
    elif timezone.now() < instance.state_since + PATIENCE:
        driver.reboot(instance.uuid)
        return
    else:
        driver.reboot(instance.uuid, force=True)
    Instance.objects.filter(pk=instance.pk).update(booted_at=timezone.now())


def _hibernate(driver: Driver, instance: Instance) -> None:
    driver.hibernate(instance.uuid)
    instance.transition(State.HIBERNATED)


def _delete(driver: Driver, instance: Instance) -> None:
    found = _find(driver, instance)
    if instance.bin_until and found:
        if _is_off(driver, instance):
            instance.transition(State.BINNED)
        return
    if instance.deleted_at and found and found.power in RUNNING:
        _keep_in_bin(instance)
        return
    driver.destroy(instance.uuid)
    instance.transition(State.DELETED, deleted_at=instance.deleted_at or timezone.now(), bin_until=None)


def _keep_in_bin(instance: Instance) -> None:
    """What lay in the bin and runs was brought back without our knowledge: the database may be an older copy."""
    why = _("It runs on its host though it lay in the recycle bin. Nothing was deleted.")
    instance.transition(State.BINNED, reason=why, bin_until=timezone.now() + timedelta(days=1))


WORK = {
    State.BUILDING: _build,
    State.STARTING: _start,
    State.STOPPING: _stop,
    State.REBOOTING: _reboot,
    State.HIBERNATING: _hibernate,
    State.DELETING: _delete,
}


def _is_running(driver: Driver, instance: Instance) -> bool:
    found = _find(driver, instance)
    return found is not None and found.power in RUNNING


def _find(driver: Driver, instance: Instance) -> DomainStatus | None:
    return next(iter(driver.observe([instance.uuid])), None)


@shared_task
def sweep() -> None:
    """Ring again for machines that wait for work, and end the wait of those whose deadline has passed.

    On a host that is silent nothing is overdue: its machines wait until it is back, and lose nothing.
    """
    now = timezone.now()
    working = Instance.objects.filter(state__in=WORKING)
    overdue = working.filter(deadline_at__lt=now).exclude(host__lost_since__isnull=False)
    for pk in overdue.values_list("pk", flat=True):
        _end_the_wait(pk)
    waiting = working.filter(unheld(now), deadline_at__gte=now, state_since__lt=now - RING_AGAIN)
    for pk in waiting.values_list("pk", flat=True):
        advance.delay(pk)
    for carried in Carriage.objects.filter(state__in=[Carriage.State.WAITING, Carriage.State.COPYING]):
        ring_carriage(carried)
    for pk in moving.due():
        move.delay(pk)


def _end_the_wait(instance_id: int) -> None:
    """Under the lease: a worker that is still at it goes first, and ends by its own time limit if it hangs."""
    with lease(instance_id) as mine:
        if not mine:
            return
        instance = Instance.objects.select_related("host").get(pk=instance_id)
        if instance.state in WORKING and instance.deadline_at and instance.deadline_at < timezone.now():
            fail(instance, instance.problem or _overdue(State(instance.state)))


def _overdue(state: State) -> str:
    if state == State.DELETING:
        return _("The host did not remove this machine in time. Delete it again; its disk may be gone already.")
    if state == State.STOPPING:
        return _("The machine could not be switched off in time. Try again to start it, or tell your local contact.")
    if state in {State.STARTING, State.REBOOTING}:
        return _("The machine did not show its desktop in time. Try again, or watch its console while it starts.")
    return _("The host did not finish this in time. Try again; if it happens again, tell your local contact.")


def ring_carriage(carried: Carriage) -> None:
    """After commit, have a worker carry this image, unless one is at it."""
    if carried.wants_a_worker():
        transaction.on_commit(lambda: carry.delay(carried.pk), robust=True)


def carry_everywhere(image: Image) -> int:
    """Have the image carried, beforehand, to all hosts where its machines may be. Gives their number."""
    needed = labels_of(image.requires)
    hosts = [host for host in Host.objects.filter(enabled=True) if needed <= labels_of(host.labels)]
    for carried in [Carriage.of(host, image) for host in hosts]:
        carriage.ask(carried)
        ring_carriage(carried)
    return len(hosts)


@shared_task(time_limit=CARRIES.total_seconds())
def carry(carriage_id: int) -> None:
    """Carry an image to a host, then ring for the machines that waited for it."""
    for instance_id in carriage.carry(carriage_id):
        advance.delay(instance_id)


def ring_move(move_id: int) -> None:
    """After commit, have a worker go on with a move."""
    transaction.on_commit(lambda: move.delay(move_id), robust=True)


@shared_task(time_limit=CARRIES.total_seconds())
def move(move_id: int) -> None:
    """Copy a stopped machine to another host, then remove it from the old one."""
    moving.go_on(move_id)


@shared_task
def check_host(host_id: int) -> None:
    """Open the host, make pool and network, and write down what it has or what is wrong with it."""
    host = Host.objects.get(pk=host_id)
    try:
        with closing(open_host(host_spec(host))) as driver:
            write_capacity(host, driver)
    except DriverError as error:
        Host.objects.filter(pk=host_id).update(problem=for_staff(error))


def for_staff(error: DriverError) -> str:
    """The sentence, and what libvirt said: who adds a host needs the cause, which owners are spared."""
    return f"{error}\n({error.__cause__})" if error.__cause__ else str(error)


def write_capacity(host: Host, driver: Driver) -> None:
    """Note what the host has now, and that it was seen well: what could not be prepared is a problem until it can."""
    driver.prepare()
    has = driver.capacity()
    Host.objects.filter(pk=host.pk).update(
        cpus=has.cpus,
        memory_mib=has.memory_mib,
        disk_gib=has.disk_gib,
        disk_free_gib=has.disk_free_gib,
        found=f"{has.version} · {has.virtualisation.name.lower()}",
        seen_at=timezone.now(),
        problem="",
        leftovers=_leftovers(driver),
    )


def _leftovers(driver: Driver) -> list[dict[str, object]]:
    """Volumes that neither a domain nor a live row accounts for: a machine that is being built has its disk first.

    They are shown to staff and never removed.
    """
    found = driver.leftovers()
    machines = {volume.name: machine_of(volume.name) for volume in found}
    expected = set(Instance.objects.live().filter(uuid__in=set(machines.values())).values_list("uuid", flat=True))
    return [{"name": one.name, "bytes": one.size_bytes} for one in found if machines[one.name] not in expected]


@shared_task
def remove_deleted(host_id: int, uuid: str) -> None:
    """Take a domain off its host whose row says DELETED; any other row, or none, is left alone."""
    gone = Instance.objects.filter(uuid=uuid, host=host_id, state=State.DELETED).select_related("host").first()
    if gone:
        _clear(gone)


def ring_to_remove(stray_id: int) -> None:
    """After commit, have a worker take an unknown domain off its host, as staff asked; the observer rings again."""
    transaction.on_commit(lambda: remove_stray.delay(stray_id), robust=True)


@shared_task
def remove_stray(stray_id: int) -> None:
    """Take off its host what staff want away and no live machine, on whatever host, goes by."""
    asked = Stray.objects.filter(removal_asked_at__isnull=False).select_related("host")
    stray = asked.filter(pk=stray_id).first()
    if stray is None or Instance.objects.filter(uuid=stray.domain).exclude(state=State.DELETED).exists():
        return
    try:
        with closing(open_host(host_spec(stray.host))) as driver:
            driver.destroy(stray.domain)
    except DriverError as error:
        log.warning("%s could not be removed from host %s yet: %s", stray.domain, stray.host, error)


@shared_task
def thumbnails() -> None:
    """Renew the oldest pictures of running desktops."""
    pictures.renew()


@shared_task
def forget() -> None:
    """Let go of what nobody looks up any more."""
    notices.forget()
