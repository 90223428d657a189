"""The network hook's rules as text; that they hold against a guest is shown in instances/drivers/test_guarding.py."""

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree

import pytest

from instances.drivers.network import network_xml

HOOK = Path(__file__).parents[2] / "deploy" / "host" / "visa-network"


@pytest.fixture(scope="module")
def hook() -> Any:
    loader = SourceFileLoader("visa_network", str(HOOK))
    specification = spec_from_loader("visa_network", loader)
    assert specification is not None
    module = module_from_spec(specification)
    loader.exec_module(module)
    return module


def our_network() -> ElementTree.Element:
    return ElementTree.fromstring(network_xml("visa", "10.213.0.0/20", uuid4()))  # noqa: S314 - our own text


def test_a_network_of_ours_is_guarded_as_it_starts(hook: Any) -> None:
    rules = hook.rules("started", our_network())
    assert "table inet visa_visabr0" in rules
    assert "ip daddr 10.213.0.1 udp dport 53 accept" in rules
    assert rules.rstrip().endswith("}")


def test_the_guard_goes_with_the_network(hook: Any) -> None:
    assert hook.rules("stopped", our_network()) == "table inet visa_visabr0\ndelete table inet visa_visabr0\n"


@pytest.mark.parametrize("happening", ["start", "port-created", "port-deleted", ""])
def test_other_moments_change_nothing(hook: Any, happening: str) -> None:
    assert hook.rules(happening, our_network()) == ""


def test_the_networks_of_others_are_left_alone(hook: Any) -> None:
    text = "<network><name>default</name><bridge name='virbr0'/><ip address='192.168.122.1'/></network>"
    assert hook.rules("started", ElementTree.fromstring(text)) == ""  # noqa: S314 - our own text
