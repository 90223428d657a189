"""A machine's whole life, as hypothesis tells it: person, worker, sweep, expiry and observer meet at the same moment.

Each moment is some acts that begin together, in threads of their own, on PostgreSQL and libvirt's test driver. Between
moments time passes on a clock of our own. What must hold after every moment stands in the invariants.
"""

from __future__ import annotations

import datetime as real
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from threading import Lock
from typing import Any
from uuid import uuid4

import pytest
from django.db.models import Count
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from experiments.models import User
from instances import actions, claims, expiry, life, observer, outages, tasks
from instances.drivers import open_host
from instances.drivers.base import Driver
from instances.evidence import REASONS
from instances.leases import LEASE, _take
from instances.limits import Why
from instances.models import Entry, Host, Instance, Transition
from instances.models.hosts import BLIP
from instances.specs import host_spec
from instances.states import ON_HOST, TRANSITIONS, WORKING, State
from tests.concurrency.test_races import together
from tests.instances.conftest import house, tiny_image  # noqa: F401 - fixtures
from tests.people import Facility

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

QUOTA = 2
ROOM = 3  # machines the host has memory for, though two people may have two each
IDLE_NOTICE, END_NOTICE = timedelta(hours=24), timedelta(hours=48)
LONG_ENOUGH = timedelta(seconds=1)  # two readings of the clock within one sweep


class Clock(real.datetime):
    """What Django takes for the present: the real one, and what the story has let pass."""

    passed = timedelta()

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return real.datetime.now(tz) + cls.passed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock.passed = timedelta()
    monkeypatch.setattr("django.utils.timezone.datetime", Clock)


@dataclass
class Story:
    """The facility in which all the stories of a run play, and what the people in it did."""

    house: Facility
    driver: Driver
    seeing: Lock = field(default_factory=Lock)
    typed: list[tuple[int, datetime]] = field(default_factory=list)

    def begin(self) -> None:
        Instance.objects.all().delete()
        for status in self.driver.observe():
            self.driver.destroy(status.uuid)
        Clock.passed = timedelta()
        self.typed.clear()
        size = {"cpus": 64, "memory_mib": 1024 + ROOM * 1024, "memory_reserved_mib": 1024, "disk_gib": 4000}
        Host.objects.update(**size, seen_at=timezone.now(), problem="")
        for owner in (self.house.alice, self.house.bob):
            create(self, owner)
        self.settle_all()

    def machine(self, owner: User, number: int) -> Instance | None:
        """One of the person's machines that still leaves something on a host."""
        mine = list(Instance.objects.filter(owner=owner, state__in=ON_HOST).select_related("owner", "plan__image"))
        return mine[number % len(mine)] if mine else None

    def settle_all(self) -> None:
        """Everybody does what is theirs until nothing is left to do."""
        for _round in range(12):
            tasks.sweep()
            work(self)
            observe(self)
            show_desktops(self)
            if not Instance.objects.filter(state__in=WORKING).exists():
                return
            pass_by(self, max(tasks.PATIENCE, LEASE) + timedelta(seconds=1))
        raise AssertionError(list(Instance.objects.values_list("state", "problem")))


# What each of them does


def create(story: Story, owner: User) -> None:
    wish = actions.Wish("Peaks", story.house.plan, (story.house.experiment,), 1440, 900, "fr", uuid4())
    actions.create(owner, wish)


def types(story: Story, owner: User, number: int) -> None:
    """What the relay writes when keys were pressed."""
    one, now = story.machine(owner, number), timezone.now()
    if one and Instance.objects.filter(pk=one.pk, state=State.ACTIVE).update(last_used_at=now):
        story.typed.append((one.pk, now))


def asking(verb: Callable[[Instance, User], object]) -> Callable[[Story, User, int], None]:
    def ask(story: Story, owner: User, number: int) -> None:
        one = story.machine(owner, number)
        if one:
            verb(one, owner)

    return ask


PERSON: dict[str, Callable[[Story, User, int], None]] = {
    "creates": lambda story, owner, _number: create(story, owner),
    "types": types,
    "starts": asking(actions.start),
    "stops": asking(actions.stop),
    "restarts": asking(actions.reboot),
    "puts to sleep": asking(actions.hibernate),
    "deletes": asking(actions.delete),
    "brings back": asking(life.bring_back),
    "empties the bin": asking(life.delete_for_good),
    "keeps awake": asking(lambda one, by: life.keep_awake(one, by, 1)),
    "shortens": asking(lambda one, by: life.set_end(one, by, timezone.now() + timedelta(days=1))),
}


def work(_story: Story) -> None:
    """Two workers may do this at once; the lease keeps them apart."""
    for pk in Instance.objects.filter(state__in=WORKING).values_list("pk", flat=True):
        tasks.advance(pk)


def worker_dies(_story: Story) -> None:
    for pk in Instance.objects.filter(state__in=WORKING).values_list("pk", flat=True)[:1]:
        _take(pk, uuid4())


def observe(story: Story) -> None:
    with story.seeing:  # one thread looks at a host
        now = timezone.now()
        observer.settle(Host.objects.get(pk=story.house.host.pk), story.driver.observe(), now)


def show_desktops(_story: Story) -> None:
    for one in Instance.objects.filter(state__in=[State.STARTING, State.REBOOTING], power="running"):
        if one.state == State.STARTING or (one.booted_at and one.booted_at >= one.state_since):
            observer._write(one, observer.Found(desktop=True, drawn=True), timezone.now())


def lose_contact(story: Story) -> None:
    Host.objects.update(lost_since=timezone.now() - BLIP)
    outages.silent(story.house.host, "The host does not answer.", timezone.now())
    Host.objects.update(problem="", seen_at=timezone.now())


def power_fails(story: Story) -> None:
    for status in story.driver.observe()[:1]:
        story.driver.stop(status.uuid, force=True)


HOUSE: dict[str, Callable[[Story], None]] = {
    "work": work,
    "work too": work,
    "a worker dies": worker_dies,
    "sweep": lambda _story: tasks.sweep(),
    "expire": lambda _story: expiry.expire(),
    "expire too": lambda _story: expiry.expire(),
    "observe": observe,
    "desktops": show_desktops,
    "contact lost": lose_contact,
    "power fails": power_fails,
}


def pass_by(story: Story, length: timedelta) -> None:
    """Time passes, in which the observer went on looking."""
    Clock.passed += length
    Instance.objects.filter(state=State.ACTIVE).update(observed_at=timezone.now())
    Host.objects.update(seen_at=timezone.now())


def without_refusal(act: Callable[[], None]) -> None:
    try:
        act()
    except actions.Refused:
        return


persons = st.tuples(st.sampled_from(sorted(PERSON)), st.sampled_from(["alice", "bob"]), st.integers(0, 1))
houses = st.sampled_from(sorted(HOUSE))
lengths = [timedelta(seconds=45), timedelta(minutes=6), timedelta(hours=25), timedelta(days=3), timedelta(days=15)]


def machine_of(story: Story) -> type[RuleBasedStateMachine]:
    class Life(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            story.begin()

        @rule(people=st.lists(persons, min_size=1, max_size=3), others=st.lists(houses, min_size=1, max_size=4))
        def all_at_once(self, people: list[tuple[str, str, int]], others: list[str]) -> None:
            acts: list[Callable[[], None]] = [
                lambda verb=verb, who=who, number=number: PERSON[verb](story, getattr(story.house, who), number)  # type: ignore[misc]
                for verb, who, number in people
            ]
            acts += [lambda name=name: HOUSE[name](story) for name in others]  # type: ignore[misc]
            together(len(acts), lambda number: without_refusal(acts[number]))

        @rule(length=st.sampled_from(lengths))
        def time_passes(self, length: timedelta) -> None:
            pass_by(story, length)

        @rule()
        def all_is_done(self) -> None:
            story.settle_all()

        @invariant()
        def nobody_has_more_than_the_quota(self) -> None:
            owned = Instance.objects.live().values("owner").annotate(machines=Count("pk"))
            assert all(row["machines"] <= QUOTA for row in owned)

        @invariant()
        def the_host_promises_no_more_than_it_has(self) -> None:
            (room,) = claims.rooms(Host.objects.filter(pk=story.house.host.pk))
            assert min(room.vcpus, room.memory_mib, room.disk_gib) >= 0

        @invariant()
        def every_move_is_allowed_and_follows_the_one_before(self) -> None:
            for one in Instance.objects.prefetch_related("transitions"):
                moves = sorted(one.transitions.all(), key=lambda move: move.pk)
                for before, move in pairwise(moves):
                    assert move.origin == before.to
                    assert move.to in TRANSITIONS[State(move.origin)]
                assert one.state == moves[-1].to

        @invariant()
        def nothing_is_taken_without_warning(self) -> None:
            for taken in taken_by_nobody():
                assert warned_before(taken), taken

        @invariant()
        def who_comes_back_wins(self) -> None:
            for taken in taken_by_nobody().filter(reason=REASONS[Why.IDLE]):
                since = taken.at - IDLE_NOTICE
                assert not [at for pk, at in story.typed if pk == taken.instance_id and since < at < taken.at]

        def teardown(self) -> None:
            story.settle_all()
            on_host = {status.uuid for status in story.driver.observe()}
            assert on_host == set(
                Instance.objects.filter(state__in=ON_HOST, built_at__isnull=False).values_list("uuid", flat=True)
            )
            assert tasks._leftovers(story.driver) == []

    return Life


def taken_by_nobody() -> Any:
    """Machines put to sleep or deleted by the house, not by a person; what leaves the bin was taken long ago."""
    taken = Transition.objects.filter(to__in=[State.HIBERNATING, State.DELETING], by=None)
    return taken.exclude(origin=State.BINNED).order_by("pk")


def warned_before(taken: Transition) -> bool:
    idle = taken.reason == REASONS[Why.IDLE]
    kind, notice = ("warned_idle", IDLE_NOTICE) if idle else ("warned_end", timedelta(hours=6))
    told = Entry.objects.filter(instance=taken.instance_id, kind=kind, at__lte=taken.at - notice + LONG_ENOUGH)
    return told.exists()


@pytest.fixture
def story(house: Facility, clock: None) -> Iterator[Story]:  # noqa: F811 - the fixture
    with closing(open_host(host_spec(house.host))) as driver:
        User.objects.update(quota=QUOTA)
        yield Story(house, driver)


def test_a_machine_keeps_its_promises_whoever_meets_at_it(story: Story) -> None:
    run_state_machine_as_test(
        machine_of(story),
        settings=settings(
            max_examples=6,
            stateful_step_count=10,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # making a story shorter takes minutes; it is told in full
        ),
    )
