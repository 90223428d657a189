"""Support: by consent, for a time, and told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from desktops import control, support
from desktops.access import Denied, Standing, stands
from desktops.models import AccessRequest, HelpRequest, Policy, Room
from desktops.relay import Code
from desktops.rfb import Role
from desktops.support import Answer
from experiments.models import Role as FacilityRole
from experiments.models import RoleGrant, User
from instances import members
from instances.actions import NotAllowed, Refused
from instances.models import Instance, Notice
from instances.notices import Kind, Told
from instances.states import State
from tests.desktops.rooms import granted, looks
from tests.people import Facility, client_of, facility, person

pytestmark = pytest.mark.django_db

Why = AccessRequest.State


@pytest.fixture
def people() -> Facility:
    return facility()


def asks(people: Facility, who: User | None = None, *, control: bool = True, minutes: int = 30) -> AccessRequest:
    return support.ask(people.machine, who or people.sam, "Your fit looks stuck.", minutes, control=control)


def told(user: User) -> list[str]:
    """The kinds of what the person was told and has not read, in order."""
    return list(Notice.objects.filter(user=user, read_at=None).order_by("pk").values_list("kind", flat=True))


def standing(user: User, people: Facility) -> Standing | Denied:
    return stands(User.objects.get(pk=user.pk), Instance.objects.get(pk=people.machine.pk))


def as_staff(people: Facility) -> None:
    RoleGrant.objects.create(user=people.alice, role=FacilityRole.STAFF)
    people.machine.refresh_from_db()


def local(people: Facility) -> User:
    """Ines is a scientist of the instrument."""
    people.experiment.instrument.scientists.add(people.ines)
    return people.ines


def later(**apart: float) -> None:
    support.attend(timezone.now() + timedelta(**apart))


# Asking


def test_the_owner_is_told_who_asks_and_why(people: Facility) -> None:
    asks(people)
    notice = Told(Notice.objects.get(user=people.alice))
    assert notice.text == "Sam Example of support asks to join “alice's machine”."
    assert notice.detail == "Your fit looks stuck."


def test_asking_lets_nobody_in(people: Facility) -> None:
    looks(people.alice, people.machine)
    asks(people)
    answer = standing(people.sam, people)
    assert isinstance(answer, Denied)
    assert answer.ending.code == Code.ASK_FIRST


def test_a_second_press_finds_the_first_request(people: Facility) -> None:
    assert asks(people) == asks(people)
    assert told(people.alice) == [Kind.SUPPORT_ASKS]


@pytest.mark.parametrize("who", ["bob", "alice", "charlie", "ines"])
def test_only_support_asks(people: Facility, who: str) -> None:
    with pytest.raises(NotAllowed):
        asks(people, getattr(people, who))


@pytest.mark.parametrize(
    ("reason", "minutes", "field"),
    [
        ("", 30, "reason"),
        ("  \n ", 30, "reason"),
        ("x" * 301, 30, "reason"),
        ("a\x00b", 30, "reason"),
        ("ok", 0, "minutes"),
        ("ok", -5, "minutes"),
        ("ok", 241, "minutes"),
    ],
)
def test_a_bad_request_names_its_field(people: Facility, reason: str, minutes: int, field: str) -> None:
    with pytest.raises(Refused) as refusal:
        support.ask(people.machine, people.sam, reason, minutes, control=True)
    assert refusal.value.field == field
    assert not AccessRequest.objects.exists()


def test_a_machine_that_does_not_run_has_no_screen_to_join(people: Facility) -> None:
    people.machine.transition(State.STOPPED)
    with pytest.raises(Refused, match="not running"):
        asks(people)


def test_a_request_can_be_taken_back(people: Facility) -> None:
    asked = asks(people)
    support.cancel(people.machine, people.sam)
    asked.refresh_from_db()
    assert asked.state == Why.CANCELLED
    assert told(people.alice) == []
    with pytest.raises(Refused, match="took the request back"):
        support.answer(asked, people.alice, Answer.CONTROL)


# Answering


@pytest.mark.parametrize(("given", "role"), [(Answer.CONTROL, Role.CONTROL), (Answer.WATCH, Role.WATCH)])
def test_the_owner_lets_support_in_for_the_time_asked(people: Facility, given: Answer, role: Role) -> None:
    looks(people.alice, people.machine)
    support.answer(asks(people, minutes=30), people.alice, given)
    seen = standing(people.sam, people)
    assert isinstance(seen, Standing)
    assert seen.role is role
    assert seen.until is not None
    assert timedelta(minutes=29) < seen.until - timezone.now() <= timedelta(minutes=30)
    assert told(people.sam) == [Kind.SUPPORT_LET_IN]
    assert told(people.alice) == []


def test_a_refusal_is_told_kindly(people: Facility) -> None:
    looks(people.alice, people.machine)
    support.answer(asks(people), people.alice, Answer.REFUSE)
    assert isinstance(standing(people.sam, people), Denied)
    assert told(people.sam) == [Kind.SUPPORT_REFUSED]


@pytest.mark.parametrize("who", ["bob", "sam", "admin", "charlie"])
def test_nobody_but_the_owner_answers(people: Facility, who: str) -> None:
    asked = asks(people)
    with pytest.raises(NotAllowed):
        support.answer(asked, getattr(people, who), Answer.CONTROL)


def test_who_asked_to_watch_is_not_given_control(people: Facility) -> None:
    asked = asks(people, control=False)
    with pytest.raises(Refused):
        support.answer(asked, people.alice, Answer.CONTROL)
    support.answer(asked, people.alice, Answer.WATCH)
    asked.refresh_from_db()
    assert asked.role == Role.WATCH


def test_one_answer_counts(people: Facility) -> None:
    asked = asks(people)
    support.answer(asked, people.alice, Answer.REFUSE)
    with pytest.raises(Refused, match="answered already"):
        support.answer(asked, people.alice, Answer.CONTROL)


def test_a_request_that_nobody_answers_ends_politely(people: Facility) -> None:
    asked = asks(people)
    later(seconds=119)
    asked.refresh_from_db()
    assert asked.state == Why.PENDING
    later(seconds=121)
    later(seconds=121)
    asked.refresh_from_db()
    assert asked.state == Why.UNANSWERED
    assert told(people.sam) == [Kind.SUPPORT_UNANSWERED]
    with pytest.raises(Refused, match="may ask again"):
        support.answer(asked, people.alice, Answer.CONTROL)


def test_an_answer_that_comes_after_the_time_is_too_late_even_before_the_clock_was_looked_at(
    people: Facility,
) -> None:
    asked = asks(people)
    AccessRequest.objects.update(expires_at=timezone.now())
    with pytest.raises(Refused, match="may ask again"):
        support.answer(asked, people.alice, Answer.CONTROL)


def test_who_was_not_answered_may_ask_again_at_once(people: Facility) -> None:
    first = asks(people)
    AccessRequest.objects.update(expires_at=timezone.now())
    assert asks(people) != first


def test_the_facility_says_how_long_an_owner_may_think_and_support_stay(people: Facility) -> None:
    Policy.objects.create(answer_seconds=600, support_minutes=20)
    asked = asks(people, minutes=20)
    assert asked.expires_at > timezone.now() + timedelta(seconds=590)
    with pytest.raises(Refused, match="between 1 and 20"):
        asks(people, minutes=21)


# The end


def test_support_ends_by_itself_and_both_are_told(people: Facility) -> None:
    support.answer(asks(people, minutes=30), people.alice, Answer.CONTROL)
    later(minutes=29)
    assert AccessRequest.objects.get().state == Why.GRANTED
    later(minutes=31)
    later(minutes=31)
    assert AccessRequest.objects.get().state == Why.ENDED
    assert told(people.alice) == [Kind.SUPPORT_OVER]
    assert told(people.sam) == [Kind.SUPPORT_LET_IN, Kind.SUPPORT_OVER]


def test_the_owner_ends_support(people: Facility) -> None:
    looks(people.alice, people.machine)
    granted(people.sam, people.machine)
    other = granted(people.admin, people.machine)
    support.end(people.machine, people.alice, people.sam)
    assert isinstance(standing(people.sam, people), Denied)
    assert isinstance(standing(people.admin, people), Standing)
    assert told(people.sam) == [Kind.SUPPORT_ENDED]
    support.end(people.machine, people.alice)
    other.refresh_from_db()
    assert other.state == Why.ENDED


def test_support_leaves_and_the_owner_is_told(people: Facility) -> None:
    granted(people.sam, people.machine)
    support.end(people.machine, people.sam)
    support.end(people.machine, people.sam)
    assert told(people.alice) == [Kind.SUPPORT_ENDED]


@pytest.mark.parametrize("who", ["bob", "admin"])
def test_others_end_nobodys_support(people: Facility, who: str) -> None:
    granted(people.sam, people.machine)
    with pytest.raises(NotAllowed):
        support.end(people.machine, getattr(people, who), people.sam)
    support.end(people.machine, getattr(people, who))
    assert AccessRequest.objects.get().state == Why.GRANTED


def test_a_new_consent_replaces_the_old_one(people: Facility) -> None:
    looks(people.alice, people.machine)
    granted(people.sam, people.machine, Role.CONTROL, minutes=200)
    support.answer(asks(people, control=False, minutes=10), people.alice, Answer.WATCH)
    seen = standing(people.sam, people)
    assert isinstance(seen, Standing)
    assert seen.role is Role.WATCH
    assert AccessRequest.objects.filter(state=Why.GRANTED).count() == 1


# Nobody there


def enters(people: Facility, who: User | None = None) -> AccessRequest:
    return support.enter(people.machine, who or people.sam, "The host will restart.", 60)


def test_support_enters_while_the_owner_is_away_and_the_owner_is_told(people: Facility) -> None:
    assert enters(people) == enters(people)
    seen = standing(people.sam, people)
    assert isinstance(seen, Standing)
    assert seen.controls
    assert told(people.alice) == [Kind.SUPPORT_ENTERED]
    assert Told(Notice.objects.get(user=people.alice)).detail == "The host will restart."


def test_an_owner_who_is_there_is_asked(people: Facility) -> None:
    looks(people.alice, people.machine)
    with pytest.raises(Refused, match="Ask to join"):
        enters(people)


def test_a_machine_of_staff_is_not_entered_without_its_owner(people: Facility) -> None:
    as_staff(people)
    with pytest.raises(NotAllowed):
        enters(people)
    assert not AccessRequest.objects.exists()


def test_the_facility_may_forbid_to_enter(people: Facility) -> None:
    Policy.objects.create(unattended_support=False)
    with pytest.raises(NotAllowed):
        enters(people)


@pytest.mark.parametrize("who", ["bob", "alice", "charlie", "ines"])
def test_nobody_else_enters(people: Facility, who: str) -> None:
    with pytest.raises(NotAllowed):
        enters(people, getattr(people, who))


# Help


def test_one_press_tells_the_scientists_of_the_instrument(people: Facility) -> None:
    ines = local(people)
    far = person("far", FacilityRole.INSTRUMENT_SCIENTIST)
    support.call(people.machine, people.alice, "I cannot see my data.")
    assert told(ines) == [Kind.HELP_WANTED]
    assert Told(Notice.objects.get(user=ines)).detail == "I cannot see my data."
    assert told(far) == told(people.sam) == told(people.bob) == []


def test_instrument_control_is_told_around_the_experiment(people: Facility) -> None:
    control = person("ian", FacilityRole.INSTRUMENT_CONTROL)
    gone = person("gone", FacilityRole.INSTRUMENT_CONTROL, expires_at=timezone.now() - timedelta(days=1))
    support.call(people.machine, people.alice)
    assert told(control) == []  # the experiment ended eight days before
    support.close(people.machine, people.alice)
    type(people.experiment).objects.update(ends_at=timezone.now() - timedelta(days=6))
    support.call(people.machine, people.alice)
    assert told(control) == [Kind.HELP_WANTED]
    assert told(gone) == []


def test_without_a_local_contact_it_is_told_at_once(people: Facility) -> None:
    support.call(people.machine, people.alice)
    assert told(people.sam) == [Kind.HELP_WANTED]


def test_without_it_the_administrators_hear(people: Facility) -> None:
    RoleGrant.objects.filter(role=FacilityRole.IT_SUPPORT).delete()
    support.call(people.machine, people.alice)
    assert told(people.admin) == [Kind.HELP_WANTED]


def test_it_is_told_when_no_local_contact_comes(people: Facility) -> None:
    local(people)
    support.call(people.machine, people.alice)
    later(minutes=4)
    assert told(people.sam) == []
    later(minutes=6)
    later(minutes=7)
    assert told(people.sam) == [Kind.HELP_WANTED]


def test_it_is_left_alone_when_somebody_took_the_call(people: Facility) -> None:
    ines = local(people)
    support.call(people.machine, people.alice)
    support.take(people.machine, ines)
    later(minutes=6)
    assert told(people.sam) == []


def test_a_second_press_says_more_in_the_same_call(people: Facility) -> None:
    local(people)
    support.call(people.machine, people.alice)
    support.call(people.machine, people.alice, "It is the detector.")
    support.call(people.machine, people.alice)
    assert HelpRequest.objects.get().message == "It is the detector."
    assert told(people.ines) == [Kind.HELP_WANTED]


def test_what_is_too_long_is_said_at_the_message(people: Facility) -> None:
    with pytest.raises(Refused) as refusal:
        support.call(people.machine, people.alice, "x" * 501)
    assert refusal.value.field == "message"


@pytest.mark.parametrize("who", ["bob", "sam", "admin"])
def test_the_owner_alone_calls(people: Facility, who: str) -> None:
    with pytest.raises(NotAllowed):
        support.call(people.machine, getattr(people, who))


def test_who_takes_the_call_is_let_in_with_control_and_no_second_question(people: Facility) -> None:
    looks(people.alice, people.machine)
    support.call(people.machine, people.alice, "Help")
    support.take(people.machine, people.sam)
    support.take(people.machine, people.sam)
    seen = standing(people.sam, people)
    assert isinstance(seen, Standing)
    assert seen.controls
    assert told(people.alice) == [Kind.HELP_COMES]


def test_a_call_is_taken_by_one(people: Facility) -> None:
    support.call(people.machine, people.alice)
    support.take(people.machine, people.sam)
    with pytest.raises(Refused, match="Sam Example answers this call already"):
        support.take(people.machine, people.admin)
    assert isinstance(standing(people.admin, people), Denied)


def test_a_call_for_help_opens_a_machine_of_staff_only_while_its_owner_is_there(people: Facility) -> None:
    as_staff(people)
    support.call(people.machine, people.alice)
    support.take(people.machine, people.sam)
    answer = standing(people.sam, people)
    assert isinstance(answer, Denied)
    assert answer.ending.code == Code.OWNER_AWAY
    looks(people.alice, people.machine)
    assert isinstance(standing(people.sam, people), Standing)


@pytest.mark.parametrize("who", ["bob", "alice", "charlie", "ines"])
def test_others_take_no_call(people: Facility, who: str) -> None:
    support.call(people.machine, people.alice)
    with pytest.raises(NotAllowed):
        support.take(people.machine, getattr(people, who))


@pytest.mark.parametrize("who", ["alice", "sam"])
def test_owner_and_helper_may_say_that_it_is_done(people: Facility, who: str) -> None:
    looks(people.alice, people.machine)
    support.call(people.machine, people.alice)
    support.take(people.machine, people.sam)
    support.close(people.machine, getattr(people, who))
    assert HelpRequest.objects.get().closed_at
    assert isinstance(standing(people.sam, people), Denied)
    other = people.sam if who == "alice" else people.alice
    assert told(other)[-1] == Kind.HELP_DONE


def test_closing_what_is_closed_is_harmless(people: Facility) -> None:
    support.close(people.machine, people.alice)
    support.call(people.machine, people.alice)
    support.close(people.machine, people.alice)
    support.close(people.machine, people.alice)
    with pytest.raises(Refused, match="closed already"):
        support.take(people.machine, people.sam)


@pytest.mark.parametrize("who", ["bob", "sam"])
def test_who_does_not_answer_a_call_cannot_close_it(people: Facility, who: str) -> None:
    support.call(people.machine, people.alice)
    with pytest.raises(NotAllowed):
        support.close(people.machine, getattr(people, who))


def test_a_call_whose_helper_leaves_waits_for_another(people: Facility) -> None:
    support.call(people.machine, people.alice)
    support.take(people.machine, people.sam)
    support.end(people.machine, people.sam)
    support.take(people.machine, people.admin)
    assert HelpRequest.objects.get().taken_by == people.admin


def test_a_call_whose_helper_the_owner_sent_away_is_done(people: Facility) -> None:
    support.call(people.machine, people.alice)
    support.take(people.machine, people.sam)
    support.end(people.machine, people.alice, people.sam)
    assert HelpRequest.objects.get().closed_at


def test_a_consent_and_a_call_end_when_the_machine_is_handed_over(people: Facility) -> None:
    granted(people.ines, people.machine)
    support.call(people.machine, people.alice)
    support.take(people.machine, people.sam)
    members.hand_over(people.machine, people.alice, people.bob)
    assert HelpRequest.objects.get().closed_at
    for supporter in (people.ines, people.sam):
        assert isinstance(standing(supporter, people), Denied)


# Doorbells


def test_every_change_is_told_to_owner_supporter_and_support_pages(
    people: Facility, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    said: list[tuple[str, str]] = []

    def hear(bells: list[tuple[str, dict[str, Any]]]) -> None:
        said.extend((group, heard.get("event", heard)["type"]) for group, heard in bells)

    monkeypatch.setattr(control, "ring", hear)
    alice, sam = f"user.{people.alice.pk}", f"user.{people.sam.pk}"
    room, relays = f"room.{people.machine.uuid.hex}", f"instance.{people.machine.uuid.hex}"
    wanted = {(alice, "request"), (sam, "request"), (room, "room"), (relays, "look.again"), ("support", "support")}
    steps: list[Callable[[], object]] = [
        lambda: asks(people),
        lambda: support.cancel(people.machine, people.sam),
        lambda: asks(people),
        lambda: support.answer(AccessRequest.objects.filter(state=Why.PENDING).get(), people.alice, Answer.WATCH),
        lambda: support.end(people.machine, people.sam),
        lambda: enters(people),
        lambda: later(minutes=61),
    ]
    for step in steps:
        said.clear()
        with django_capture_on_commit_callbacks(execute=True):
            step()
        assert wanted <= set(said), step


# Over HTTP


def post(user: User, people: Facility, path: str, **form: str) -> tuple[int, dict[str, Any]]:
    answer = client_of(user).post(f"/machines/{people.machine.uuid}/{path}", form)
    return answer.status_code, answer.json() if answer["Content-Type"] == "application/json" else {}


def test_a_request_is_asked_and_answered_over_http(people: Facility) -> None:
    assert post(people.sam, people, "ask/", reason="Fit", minutes="15", control="on") == (200, {"ok": True})
    asked = AccessRequest.objects.get()
    assert (asked.minutes, asked.wants_control) == (15, True)
    assert post(people.alice, people, f"requests/{asked.uuid}/answer/", answer="watch") == (200, {"ok": True})
    asked.refresh_from_db()
    assert asked.state == Why.GRANTED


@pytest.mark.parametrize("minutes", ["", "x", "1e3", "-1", "٣", "9" * 5000, "1.5"])
def test_nonsense_for_a_time_is_said_at_the_field(people: Facility, minutes: str) -> None:
    status, said = post(people.sam, people, "ask/", reason="Fit", minutes=minutes)
    assert (status, said["field"]) == (400, "minutes")


def test_nonsense_for_an_answer_is_said(people: Facility) -> None:
    asked = asks(people)
    assert post(people.alice, people, f"requests/{asked.uuid}/answer/", answer="yes")[0] == 400


def test_a_late_answer_is_a_conflict_with_a_sentence(people: Facility) -> None:
    asked = asks(people)
    support.cancel(people.machine, people.sam)
    status, said = post(people.alice, people, f"requests/{asked.uuid}/answer/", answer="watch")
    assert (status, said) == (409, {"error": "Sam Example took the request back.", "field": None})


def test_a_request_is_answered_only_at_its_own_machine(people: Facility) -> None:
    asked = asks(people)
    bobs = Instance.objects.get(pk=people.machine.pk)
    bobs.pk, bobs.uuid, bobs.owner, bobs.request_key = None, asked.uuid, people.bob, asked.uuid
    bobs.save()
    answer = client_of(people.bob).post(f"/machines/{bobs.uuid}/requests/{asked.uuid}/answer/", {"answer": "control"})
    assert answer.status_code == 404


def test_a_member_sees_the_machine_but_may_not_answer(people: Facility) -> None:
    asked = asks(people)
    assert post(people.bob, people, f"requests/{asked.uuid}/answer/", answer="control")[0] == 403


def test_members_who_may_work_alone_make_no_difference_to_support(people: Facility) -> None:
    Room.objects.create(instance=people.machine, members_alone=True)
    assert isinstance(standing(people.sam, people), Denied)


# On the machine's page


def panel(user: User, people: Facility) -> str:
    return client_of(user).get(f"/machines/{people.machine.uuid}/support/").content.decode()


def test_the_owner_sees_who_asks_with_role_reason_and_time(people: Facility) -> None:
    asks(people)
    shown = panel(people.alice, people)
    for words in ("Sam Example", "IT support", "Your fit looks stuck.", "30 minutes", "Let in with control"):
        assert words in shown
    assert "Your fit looks stuck." not in panel(people.bob, people)


def test_who_asked_to_watch_is_not_offered_control(people: Facility) -> None:
    asks(people, control=False)
    assert "Let in with control" not in panel(people.alice, people)


def test_everybody_at_the_machine_sees_who_of_support_is_in(people: Facility) -> None:
    granted(people.sam, people.machine)
    for user in (people.alice, people.bob, people.sam):
        assert "Sam Example" in panel(user, people)
    assert "End support" in panel(people.alice, people)
    assert "End support" not in panel(people.bob, people)


def test_what_was_stays_to_be_read(people: Facility) -> None:
    enters(people)
    support.end(people.machine, people.sam)
    shown = panel(people.alice, people)
    assert "The owner was away" in shown
    assert "The host will restart." in shown
    assert "The host will restart." not in panel(people.bob, people)


def test_the_panel_costs_the_same_however_often_support_was_there(
    people: Facility, django_assert_max_num_queries: Any
) -> None:
    for _ in range(15):
        enters(people)
        support.end(people.machine, people.sam)
    alice = client_of(people.alice)
    with django_assert_max_num_queries(10):
        alice.get(f"/machines/{people.machine.uuid}/support/")
