"""The administration of machines, hosts and the catalogue: what staff can do, and what nobody can."""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib.admin.models import DELETION, LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from redis import Redis

from desktops.models import Connection
from experiments.models import Role, User
from instances import tasks
from instances.models import Entry, Flavour, Host, Image, Instance, Notice, Plan, Protocol, Stray, Transition
from instances.states import State
from tests import people
from tests.people import Facility

pytestmark = pytest.mark.django_db

MACHINES = "/admin/instances/instance/"
HOSTS = "/admin/instances/host/"
IMAGES = "/admin/instances/image/"
PLANS = "/admin/instances/plan/"
LISTS = [MACHINES, HOSTS, IMAGES, PLANS, "/admin/instances/flavour/", "/admin/instances/stray/"]
LISTS += ["/admin/instances/transition/", "/admin/desktops/connection/"]


@pytest.fixture
def facility() -> Facility:
    return people.facility()


def client(user: User) -> Client:
    made = Client()
    made.force_login(user)
    return made


@pytest.fixture
def admin(facility: Facility) -> Client:
    return client(facility.admin)


def errors(response: Any) -> dict[str, list[str]]:
    """What the form says at its fields."""
    assert response.status_code == 200, response.status_code
    return {name: list(said) for name, said in response.context["adminform"].form.errors.items()}


# Looking


@pytest.mark.parametrize("page", LISTS)
def test_every_list_opens(admin: Client, facility: Facility, page: str) -> None:
    Stray.objects.create(host=facility.host, domain=uuid4())
    Connection.objects.create(instance=facility.machine, user=facility.bob, which="screen", role="watcher")
    assert admin.get(page).status_code == 200


@pytest.mark.parametrize("page", LISTS)
def test_lists_cost_the_same_number_of_queries_however_long_they_are(
    admin: Client, facility: Facility, page: str
) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as counted:
            assert admin.get(page).status_code == 200
        return len(counted)

    _grow(facility, 1)
    count()  # fills the session and the content types
    few = count()
    _grow(facility, 6)
    assert count() == few <= 25


def _grow(facility: Facility, many: int) -> None:
    for _ in range(many):
        number = Instance.objects.count()
        host, image = people.host(f"more-{number}"), people.image(f"More {number}")
        plan = people.plan(image, people.flavour(f"Size {number}"))
        machine = people.machine(people.person(f"owner{number}"), plan, host, name=f"machine {number}")
        Stray.objects.create(host=host, domain=uuid4())
        Connection.objects.create(instance=machine, user=machine.owner, which="screen", role="watcher")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("", {"alice's machine", "failed", "late", "stopped"}),
        ("?show=hand", {"failed", "late"}),
        ("?show=running", {"alice's machine"}),
        ("?show=working", {"late"}),
        ("?show=resting", {"stopped"}),
        ("?show=unused", set()),
        ("?show=gone", {"gone"}),
        ("?q=failed", {"failed"}),
        ("?q=bob", {"failed", "late", "stopped"}),
    ],
)
def test_the_list_answers_the_operators_questions(
    admin: Client, facility: Facility, question: str, expected: set[str]
) -> None:
    late = timezone.now() - timedelta(minutes=1)
    for name, state, deadline in (
        ("failed", State.ERROR, None),
        ("late", State.BUILDING, late),
        ("stopped", State.STOPPED, None),
        ("gone", State.DELETED, None),
    ):
        people.machine(facility.bob, facility.plan, facility.host, name=name, state=state, deadline_at=deadline)
    shown = admin.get(MACHINES + question).context["cl"].queryset
    assert {machine.name for machine in shown} == expected


def test_a_machine_is_found_by_its_public_id(admin: Client, facility: Facility) -> None:
    shown = admin.get(f"{MACHINES}?q={facility.machine.uuid}").context["cl"].queryset
    assert [machine.pk for machine in shown] == [facility.machine.pk]


def test_no_secret_is_shown_to_staff(admin: Client, facility: Facility) -> None:
    canaries = {"vnc_password": "cnry-vnc", "console_password": "cnry-con", "jupyter_token": "canary-jupyter"}
    canaries["ssh_secret"] = "canary-ssh"
    Instance.objects.filter(pk=facility.machine.pk).update(**canaries)
    pages = [MACHINES, f"{MACHINES}{facility.machine.pk}/change/", f"{MACHINES}{facility.machine.pk}/history/"]
    shown = b"".join(admin.get(page).content for page in pages)
    assert facility.machine.name.encode()[:5] in shown
    assert not [canary for canary in canaries.values() if canary.encode() in shown]


# Who may


@pytest.mark.parametrize("page", [*LISTS, "/admin/"])
def test_only_staff_come_in_and_by_the_sites_own_door(facility: Facility, page: str) -> None:
    turned_away = Client().get(page, follow=True)
    assert turned_away.redirect_chain[-1][0].startswith("/accounts/login/?next=")
    assert client(facility.alice).get(page, follow=True).status_code == 403


def test_support_looks_and_does_not_touch(facility: Facility) -> None:
    User.objects.filter(pk=facility.sam.pk).update(is_staff=True)
    sam = client(facility.sam)
    page = f"{MACHINES}{facility.machine.pk}/change/"
    assert sam.get(page).status_code == 200
    assert sam.post(page, {"instances_instance_stop": ""}).status_code == 403
    assert sam.post(f"{MACHINES}{facility.machine.pk}/delete/", {"post": "yes"}).status_code == 403
    assert sam.get(f"{HOSTS}add/").status_code == 403
    facility.machine.refresh_from_db()
    assert facility.machine.state == State.ACTIVE


def test_a_role_that_ended_opens_nothing(facility: Facility) -> None:
    ended = people.person("former", Role.IT_SUPPORT, expires_at=timezone.now() - timedelta(minutes=1), is_staff=True)
    assert client(ended).get(MACHINES).status_code == 403
    assert client(ended).get("/admin/").status_code == 200


# Asking of machines


def press(admin: Client, machine: Instance, button: str, **more: str) -> Any:
    """Press a button on the machine's page, as the browser would."""
    page = f"{MACHINES}{machine.pk}/change/"
    sent: dict[str, str] = {f"instances_instance_{button}": "", **more}
    for formset in admin.get(page).context["inline_admin_formsets"]:
        sent |= {f"{formset.formset.prefix}-{name}": "0" for name in ("TOTAL_FORMS", "INITIAL_FORMS")}
    return admin.post(page, sent, follow=True)


@pytest.mark.parametrize(
    ("begin", "button", "end"),
    [
        (State.ACTIVE, "stop", State.STOPPING),
        (State.ACTIVE, "reboot", State.REBOOTING),
        (State.STOPPED, "start", State.STARTING),
        (State.ERROR, "retry", State.STARTING),
        (State.STOPPED, "reboot", State.STOPPED),
    ],
)
def test_buttons_ask_what_the_state_allows(
    admin: Client, facility: Facility, begin: State, button: str, end: State
) -> None:
    machine = people.machine(facility.bob, facility.plan, facility.host, state=begin)
    assert press(admin, machine, button).status_code == 200
    machine.refresh_from_db()
    assert machine.state == end
    if begin != end:
        assert machine.transitions.filter(to=end, by=facility.admin).exists()


def test_nothing_is_written_by_hand(admin: Client, facility: Facility) -> None:
    before = Instance.objects.values().get(pk=facility.machine.pk)
    forged = {"state": "deleted", "owner": str(facility.charlie.pk), "name": "x", "vcpus": "64", "power": "off"}
    assert press(admin, facility.machine, "nothing", **forged).status_code == 200
    assert Instance.objects.values().get(pk=facility.machine.pk) == before
    assert admin.get(f"{MACHINES}add/").status_code == 403


def test_several_machines_are_asked_at_once_and_refusals_are_said(admin: Client, facility: Facility) -> None:
    building = people.machine(facility.bob, facility.plan, facility.host, name="young", state=State.BUILDING)
    chosen = [str(facility.machine.pk), str(building.pk)]
    done = admin.post(MACHINES, {"action": "reboot_all", "_selected_action": chosen}, follow=True)
    said = " ".join(str(message) for message in done.context["messages"])
    assert "Asked for 1 machines" in said
    assert "young: The machine is busy with something else." in said
    facility.machine.refresh_from_db()
    assert facility.machine.state == State.REBOOTING


def test_deleting_asks_first_and_then_asks_the_workers(admin: Client, facility: Facility) -> None:
    page = f"{MACHINES}{facility.machine.pk}/delete/"
    asked = admin.get(page).content.decode()
    assert "all files on its disk" in asked
    facility.machine.refresh_from_db()
    assert facility.machine.state == State.ACTIVE
    admin.post(page, {"post": "yes"})
    facility.machine.refresh_from_db()
    assert facility.machine.state == State.DELETING


def test_deleting_several_keeps_their_rows(admin: Client, facility: Facility) -> None:
    chosen = {"action": "delete_selected", "_selected_action": [str(facility.machine.pk)], "post": "yes"}
    admin.post(MACHINES, chosen)
    facility.machine.refresh_from_db()
    assert facility.machine.state == State.DELETING


@pytest.mark.parametrize(
    "page", ["/admin/instances/transition/", "/admin/instances/stray/", "/admin/desktops/connection/"]
)
def test_what_happened_is_only_read(admin: Client, facility: Facility, page: str) -> None:
    assert admin.get(f"{page}add/").status_code == 403
    row = Transition.objects.earliest("pk")
    assert admin.post(f"/admin/instances/transition/{row.pk}/delete/", {"post": "yes"}).status_code == 403


# Unknown machines


def stray(facility: Facility, **facts: Any) -> str:
    """The address of its page."""
    made = Stray.objects.create(**{"host": facility.host, "domain": uuid4(), "power": "running"} | facts)
    return f"/admin/instances/stray/{made.pk}/"


def rung_for(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    rung: list[int] = []
    monkeypatch.setattr(tasks, "ring_to_remove", rung.append)
    return rung


def test_an_unknown_machine_is_removed_when_staff_confirm_and_the_log_keeps_who(
    admin: Client, facility: Facility, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, rung = stray(facility), rung_for(monkeypatch)
    asked = admin.get(f"{page}delete/").content.decode()
    assert "with its disk and all files on it" in asked
    assert rung == []
    done = admin.post(f"{page}delete/", {"post": "yes"}, follow=True).content.decode()
    assert "A worker removes" in done
    assert "asked for" in done
    one = Stray.objects.get()
    assert (one.removal_asked_at is not None, rung) == (True, [one.pk])
    assert LogEntry.objects.get(action_flag=DELETION).user == facility.admin


def test_what_is_known_of_an_unknown_machine_is_said(admin: Client, facility: Facility) -> None:
    gone = people.machine(facility.bob, facility.plan, facility.host, name="Old peaks", state=State.DELETED)
    assert "It was “Old peaks” of bob" in admin.get(f"{stray(facility, domain=gone.uuid)}change/").content.decode()
    assert "No machine of this number is known" in admin.get(f"{stray(facility)}change/").content.decode()


def test_what_goes_by_the_number_of_a_machine_in_use_is_not_removed(
    admin: Client, facility: Facility, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, rung = stray(facility, host=people.host("other"), domain=facility.machine.uuid), rung_for(monkeypatch)
    admin.post(f"{page}delete/", {"post": "yes"})
    assert (Stray.objects.get().removal_asked_at, rung) == (None, [])


def test_support_may_look_at_unknown_machines_and_not_remove_them(facility: Facility) -> None:
    User.objects.filter(pk=facility.sam.pk).update(is_staff=True)
    page, sam = stray(facility), client(facility.sam)
    assert sam.get(f"{page}change/").status_code == 200
    assert sam.post(f"{page}delete/", {"post": "yes"}).status_code == 403


# Machines of a host that does not come back


def test_staff_give_up_a_machine_whose_host_is_gone_and_its_owner_is_told(admin: Client, facility: Facility) -> None:
    page = f"{MACHINES}{facility.machine.pk}/change/"
    assert "instances_instance_forgo" not in admin.get(page).content.decode()
    Host.objects.update(lost_since=timezone.now() - timedelta(days=3))
    assert "instances_instance_forgo" in admin.get(page).content.decode()
    press(admin, facility.machine, "forgo", why="It burned.")
    facility.machine.refresh_from_db()
    assert facility.machine.state == State.DELETED
    last = Transition.objects.latest("pk")
    assert (last.by, last.reason) == (facility.admin, "It burned.")
    assert Notice.objects.get(user=facility.alice).kind == "given_up"


# Images


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    file = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(file), "3G"], check=True)
    return file


def image_form(**changes: str) -> dict[str, str]:
    inline = {f"{rows}-{count}_FORMS": "0" for rows in ("protocols", "apps") for count in ("TOTAL", "INITIAL")}
    fields = {"name": "Imported", "version": "1", "icon": "monitor", "visibility": "everyone", "extending": "nobody"}
    return inline | fields | changes


def test_an_image_is_added_by_its_file(admin: Client, facility: Facility, disk: Path) -> None:
    assert admin.post(f"{IMAGES}add/", image_form(path=str(disk))).status_code == 302
    added = Image.objects.get(name="Imported")
    assert added.virtual_size_gib == 3
    assert added.sha256 == subprocess.check_output(["sha256sum", disk], text=True).split()[0]
    assert added.port(Protocol.VNC) == 5901


def test_an_image_is_added_with_its_protocols(admin: Client, facility: Facility, disk: Path) -> None:
    rows = {"protocols-TOTAL_FORMS": "2", "protocols-0-kind": "vnc", "protocols-0-port": "5902"}
    rows |= {"protocols-1-kind": "jupyter", "protocols-1-port": "8889"}
    assert admin.post(f"{IMAGES}add/", image_form(path=str(disk)) | rows).status_code == 302
    added = Image.objects.get(name="Imported")
    assert (added.port(Protocol.VNC), added.port(Protocol.JUPYTER), added.port(Protocol.SSH)) == (5902, 8889, None)


def app_row(**changes: str) -> dict[str, str]:
    row = {"name": "Grafana", "slug": "grafana", "port": "3000", "path": "/"} | changes
    protocols = {"protocols-TOTAL_FORMS": "1", "protocols-0-kind": "vnc", "protocols-0-port": "5902"}
    return protocols | {"apps-TOTAL_FORMS": "1"} | {f"apps-0-{field}": value for field, value in row.items()}


def test_an_image_declares_a_web_application(admin: Client, facility: Facility, disk: Path) -> None:
    assert admin.post(f"{IMAGES}add/", image_form(path=str(disk)) | app_row(path="/d/home/")).status_code == 302
    (app,) = Image.objects.get(name="Imported").web_apps()
    assert (app.slug, app.name, app.port, app.path) == ("grafana", "Grafana", 3000, "/d/home/")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("slug", "Grafana", "small letters"),
        ("slug", "a.b", "small letters"),
        ("slug", "ends-", "small letters"),
        ("slug", "jupyter", "JupyterLab has this name"),
        ("slug", "a" * 26, "at most 25"),
        ("port", "5902", "at this port"),
        ("port", "0", "greater than or equal to 1"),
        ("port", "65536", "less than or equal to 65535"),
        ("path", "app", "begins with one /"),
        ("path", "//evil.example", "begins with one /"),
        ("path", "/a b", "begins with one /"),
    ],
)
def test_a_web_application_is_refused_at_the_field(
    admin: Client, disk: Path, field: str, value: str, said: str
) -> None:
    answer = admin.post(f"{IMAGES}add/", image_form(path=str(disk)) | app_row(**{field: value}))
    (row,) = answer.context["inline_admin_formsets"][1].formset.errors
    assert list(row) == [field]
    assert said in row[field][0]


def test_the_port_that_the_desktop_gets_unasked_is_taken_too(admin: Client, facility: Facility, disk: Path) -> None:
    row = {name: value for name, value in app_row(port="5901").items() if not name.startswith("protocols")}
    answer = admin.post(f"{IMAGES}add/", image_form(path=str(disk)) | row)
    assert list(answer.context["inline_admin_formsets"][1].formset.errors[0]) == ["port"]


def test_a_bad_file_is_refused_at_the_path(admin: Client, facility: Facility, disk: Path) -> None:
    thief = disk.with_name("thief.qcow2")
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "/etc/passwd", "-F", "raw", str(thief), "1G"]
    subprocess.run(command, check=True)
    for path, said in ((str(thief), "builds on another file"), ("/nowhere", "no file"), ("disk", "whole path")):
        refused = errors(admin.post(f"{IMAGES}add/", image_form(path=path)))
        assert list(refused) == ["path"]
        assert said in refused["path"][0]
    assert not Image.objects.filter(name="Imported").exists()


def test_a_wrong_checksum_is_refused_at_the_checksum(admin: Client, facility: Facility, disk: Path) -> None:
    refused = errors(admin.post(f"{IMAGES}add/", image_form(path=str(disk), sha256="0" * 64)))
    assert "not the file you mean" in refused["sha256"][0]


def test_the_file_of_an_image_in_use_stays(admin: Client, facility: Facility, disk: Path) -> None:
    page = f"{IMAGES}{facility.image.pk}/change/"
    sent = image_form(name="Renamed", path=str(disk), sha256="f" * 64)
    sent |= {"protocols-TOTAL_FORMS": "2", "protocols-INITIAL_FORMS": "2"}
    for number, protocol in enumerate(facility.image.protocols.order_by("pk")):
        sent |= {f"protocols-{number}-{key}": str(value) for key, value in {
            "id": protocol.pk, "image": facility.image.pk, "kind": protocol.kind, "port": protocol.port,
        }.items()}  # fmt: skip
    assert admin.post(page, sent).status_code == 302
    after = Image.objects.get(pk=facility.image.pk)
    assert (after.name, after.path, after.sha256) == ("Renamed", facility.image.path, facility.image.sha256)


def test_an_image_that_plans_use_is_not_deleted(admin: Client, facility: Facility) -> None:
    admin.post(f"{IMAGES}{facility.image.pk}/delete/", {"post": "yes"})
    assert Image.objects.filter(pk=facility.image.pk).exists()


# Sizes and plans


def test_a_size_is_limited_to_a_role_or_an_instrument_not_both(admin: Client, facility: Facility) -> None:
    instrument = str(facility.experiment.instrument.pk)
    size = {"name": "Huge", "vcpus": "32", "memory_mib": "65536", "disk_gib": "100"}
    inline = {"limits-TOTAL_FORMS": "1", "limits-INITIAL_FORMS": "0"}
    both = {"limits-0-role": "staff", "limits-0-instrument": instrument}
    refused = admin.post("/admin/instances/flavour/add/", size | inline | both)
    assert "Name either a role or an instrument." in refused.content.decode()
    assert admin.post("/admin/instances/flavour/add/", size | inline | {"limits-0-role": "staff"}).status_code == 302
    assert [str(limit.role) for limit in Flavour.objects.get(name="Huge").limits.all()] == ["staff"]


def test_a_new_preset_takes_the_mark_from_the_old_one(admin: Client, facility: Facility) -> None:
    plan = facility.large_plan
    sent = {"image": plan.image_id, "flavour": plan.flavour_id, "preset": "on", "enabled": "on"}
    assert admin.post(f"{PLANS}{plan.pk}/change/", sent).status_code == 302
    assert list(Plan.objects.filter(preset=True)) == [plan]


def test_the_same_plan_twice_is_refused_in_words(admin: Client, facility: Facility) -> None:
    sent = {"image": facility.image.pk, "flavour": facility.small.pk, "enabled": "on"}
    refused = admin.post(f"{PLANS}add/", sent)
    assert refused.status_code == 200
    assert "already exists" in refused.content.decode()


# Hosts


def host_form(**changes: str) -> dict[str, str]:
    fields = {"name": "hyper-9", "uri": "qemu+tls://hyper-9.example.org/system", "enabled": "on"}
    fields |= {"virtualisation": "auto", "pool_name": "visa", "pool_path": "/srv/visa", "network_name": "visa"}
    fields |= {"network_cidr": "10.213.0.0/20", "blocked_networks": "10.0.0.0/8"}
    fields |= {"cpu_overcommit": "4", "memory_reserved_mib": "1024", "disk_overcommit": "2"}
    fields |= {"disk_reserved_gib": "2", "labels": "", "console_address": ""}
    return fields | changes


def rung() -> list[Any]:
    """The arguments of the check_host messages that wait for a worker; takes them away."""
    queue = Redis(unix_socket_path=settings.REDIS_SOCKET)
    waiting = [json.loads(message) for message in queue.lrange("celery", 0, -1)]
    queue.delete("celery")
    checks = [one for one in waiting if one["headers"]["task"] == "instances.tasks.check_host"]
    return [json.loads(one["headers"]["argsrepr"].replace("(", "[").replace(",)", "]"))[0] for one in checks]


def test_a_new_host_is_asked_at_once(
    admin: Client, facility: Facility, django_capture_on_commit_callbacks: Any
) -> None:
    rung()
    with django_capture_on_commit_callbacks(execute=True):
        answer = admin.post(f"{HOSTS}add/", host_form())
    added = Host.objects.get(name="hyper-9")
    assert rung() == [added.pk]
    assert answer.headers["Location"].startswith(f"{HOSTS}{added.pk}/change/?asked=")


def test_the_button_tests_the_connection_and_the_page_waits_for_the_answer(
    admin: Client, facility: Facility, django_capture_on_commit_callbacks: Any
) -> None:
    broken = people.host("hyper-9", problem="No route to the host.")
    rung()
    with django_capture_on_commit_callbacks(execute=True):
        sent = host_form(uri=broken.uri, instances_host_test_connection="")
        page = admin.post(f"{HOSTS}{broken.pk}/change/", sent, follow=True)
    assert set(rung()) == {broken.pk}
    assert 'id="host-check"' in page.content.decode()
    since = page.redirect_chain[-1][0].split("asked=")[1]
    news = f"{HOSTS}{broken.pk}/news/?since={since}"
    assert admin.get(news).json() == {"answered": False}
    Host.objects.filter(pk=broken.pk).update(seen_at=timezone.now())
    assert admin.get(news).json() == {"answered": True}
    Host.objects.filter(pk=broken.pk).update(seen_at=None, problem="Wrong certificate.")
    assert admin.get(news).json() == {"answered": True}
    assert "Wrong certificate." in admin.get(f"{HOSTS}{broken.pk}/change/").content.decode()


def test_staff_are_told_the_cause_that_owners_are_spared(admin: Client, facility: Facility) -> None:
    Host.objects.filter(pk=facility.host.pk).update(uri="qemu+tcp://127.0.0.1:1/system")
    tasks.check_host(facility.host.pk)
    assert "Connection refused" in admin.get(f"{HOSTS}{facility.host.pk}/change/").content.decode()


def test_disks_without_a_machine_are_shown_with_their_size(admin: Client, facility: Facility) -> None:
    Host.objects.update(leftovers=[{"name": "visa-lost<b>.qcow2", "bytes": 3 * 2**30}])
    page = admin.get(f"{HOSTS}{facility.host.pk}/change/").content.decode()
    assert "visa-lost&lt;b&gt;.qcow2" in page
    assert "3.0\xa0GB" in page


def test_news_of_a_host_are_for_staff(facility: Facility) -> None:
    assert client(facility.alice).get(f"{HOSTS}{facility.host.pk}/news/", follow=True).status_code == 403


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("uri", "http://example.org"),
        ("uri", "qemu:///system extra"),
        ("uri", "qemu+tcp://hyper-9.example.org/system"),
        ("uri", "qemu+tls:///system"),
        ("uri", "qemu://hyper-9.example.org/system"),
        ("uri", "qemu+tls://hyper-9.example.org/system?no_verify=1"),
        ("uri", "qemu+ssh://visa@hyper-9.example.org/system?command=/bin/sh"),
        ("uri", "qemu+ssh://visa:secret@hyper-9.example.org/system"),
        ("console_address", "hyper-9"),
        ("network_cidr", "10.0.0.0/8 10.1.0.0/16"),
        ("network_cidr", "somewhere"),
        ("network_cidr", "fd00::/64"),
        ("pool_path", "images"),
        ("pool_name", "two words"),
        ("network_name", "a/b"),
        ("blocked_networks", "10.0.0.0/99"),
        ("cpu_overcommit", "0"),
        ("labels", "gpu höhe"),
        ("name", "host-1"),
    ],
)
def test_a_host_that_makes_no_sense_is_refused_at_the_field(
    admin: Client, facility: Facility, field: str, value: str
) -> None:
    assert list(errors(admin.post(f"{HOSTS}add/", host_form(**{field: value})))) == [field]


@pytest.mark.parametrize(
    "uri",
    ["qemu+tls://hyper-9:16514/system?pkipath=/etc/visa/pki", "qemu+ssh://visa@hyper-9/system?keyfile=/etc/visa/id"],
)
def test_a_far_host_is_named_with_what_its_way_needs(admin: Client, facility: Facility, uri: str) -> None:
    assert admin.post(f"{HOSTS}add/", host_form(uri=uri, console_address="192.0.2.9")).status_code == 302
    assert Host.objects.get(name="hyper-9").far_name == "hyper-9"


def test_the_consoles_of_this_computer_have_no_address(admin: Client, facility: Facility) -> None:
    here = host_form(uri="qemu:///system", console_address="192.0.2.9")
    assert list(errors(admin.post(f"{HOSTS}add/", here))) == ["console_address"]


def test_a_host_is_drained_and_taken_back(admin: Client, facility: Facility) -> None:
    for action, enabled in (("drain", False), ("take", True)):
        admin.post(HOSTS, {"action": action, "_selected_action": [str(facility.host.pk)]})
        assert Host.objects.get(pk=facility.host.pk).enabled is enabled


def test_who_takes_a_label_away_that_something_requires_is_warned(admin: Client, facility: Facility) -> None:
    Host.objects.update(labels="gpu")
    Image.objects.update(requires="gpu")
    page = admin.post(f"{HOSTS}{facility.host.pk}/change/", host_form(name="host-1"), follow=True).content.decode()
    assert Host.objects.get(name="host-1").labels == ""
    assert "which images or sizes require: gpu" in page


def test_a_host_that_carries_machines_is_not_deleted(admin: Client, facility: Facility) -> None:
    admin.post(f"{HOSTS}{facility.host.pk}/delete/", {"post": "yes"})
    assert Host.objects.filter(pk=facility.host.pk).exists()


def test_who_keeps_a_machine_says_why(admin: Client, facility: Facility) -> None:
    press(admin, facility.machine, "pin", why="Reference measurement")
    assert Entry.objects.get(instance=facility.machine, kind="pinned").reason == "Reference measurement"
