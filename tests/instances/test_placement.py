"""Which host takes a machine."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instances.placement import Need, Room, Strategy, choose

SMALL = Need(vcpus=1, memory_mib=1024, disk_gib=10)
ON_GPU = Need(vcpus=1, memory_mib=1024, disk_gib=10, labels=frozenset({"gpu"}))
GPU = frozenset({"gpu"})

labels = st.sampled_from([frozenset[str](), GPU, frozenset({"ssd"}), frozenset({"gpu", "ssd"})])
rooms = st.builds(
    Room,
    host=st.integers(1, 50),
    vcpus=st.floats(-4, 64),
    memory_mib=st.integers(-4096, 65_536),
    disk_gib=st.floats(-10, 1000),
    labels=labels,
)
needs = st.builds(
    Need,
    vcpus=st.integers(1, 32),
    memory_mib=st.integers(256, 32_768),
    disk_gib=st.integers(0, 500),
    labels=labels,
)


def test_the_roomiest_host_is_chosen() -> None:
    crowded, roomy = Room(1, 4, 4096, 100), Room(2, 4, 8192, 100)
    assert choose([crowded, roomy], SMALL) == roomy


def test_packing_takes_the_fullest_host_that_fits() -> None:
    full, crowded, roomy = Room(1, 4, 512, 100), Room(2, 4, 4096, 100), Room(3, 4, 8192, 100)
    assert choose([full, crowded, roomy], SMALL, Strategy.PACK) == crowded


def test_what_requires_a_label_goes_where_it_is() -> None:
    plain, gpu = Room(1, 64, 65_536, 1000), Room(2, 1, 1024, 10, GPU)
    assert choose([plain, gpu], ON_GPU) == gpu
    assert choose([plain], ON_GPU) is None


@pytest.mark.parametrize("strategy", Strategy)
def test_a_host_with_labels_is_kept_for_those_that_need_them_while_others_fit(strategy: Strategy) -> None:
    plain, gpu = Room(1, 4, 4096, 100), Room(2, 64, 65_536, 1000, GPU)
    fuller = Room(3, 4, 2048, 100, GPU)
    assert choose([plain, gpu, fuller], SMALL, strategy) == plain
    assert choose([gpu], SMALL, strategy) == gpu


def test_who_has_a_disk_already_asks_for_none() -> None:
    overfull = Room(1, 4, 4096, -50)
    assert choose([overfull], Need(1, 1024, 0)) == overfull


def test_a_host_without_disk_is_passed_over() -> None:
    full, other = Room(1, 64, 65_536, 9), Room(2, 1, 1024, 10)
    assert choose([full, other], SMALL) == other


def test_no_host_is_no_choice() -> None:
    assert choose([], SMALL) is None


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(rooms, max_size=10), needs, st.sampled_from(Strategy))
def test_a_chosen_host_always_fits_and_none_means_that_no_host_does(
    candidates: list[Room], need: Need, strategy: Strategy
) -> None:
    chosen = choose(candidates, need, strategy)
    if chosen is None:
        assert not any(room.fits(need) for room in candidates)
    else:
        assert chosen.fits(need)
