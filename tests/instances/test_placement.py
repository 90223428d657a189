"""Which host takes a machine."""

from hypothesis import given
from hypothesis import strategies as st

from instances.placement import Need, Room, choose

SMALL = Need(vcpus=1, memory_mib=1024, disk_gib=10)

rooms = st.builds(
    Room,
    host=st.integers(1, 50),
    vcpus=st.floats(-4, 64),
    memory_mib=st.integers(-4096, 65_536),
    disk_gib=st.floats(-10, 1000),
)
needs = st.builds(Need, vcpus=st.integers(1, 32), memory_mib=st.integers(256, 32_768), disk_gib=st.integers(1, 500))


def test_the_roomiest_host_is_chosen() -> None:
    crowded, roomy = Room(1, 4, 4096, 100), Room(2, 4, 8192, 100)
    assert choose([crowded, roomy], SMALL) == roomy


def test_a_host_without_disk_is_passed_over() -> None:
    full, other = Room(1, 64, 65_536, 9), Room(2, 1, 1024, 10)
    assert choose([full, other], SMALL) == other


def test_no_host_is_no_choice() -> None:
    assert choose([], SMALL) is None


@given(st.lists(rooms, max_size=20), needs)
def test_a_chosen_host_always_fits_and_none_means_that_no_host_does(candidates: list[Room], need: Need) -> None:
    chosen = choose(candidates, need)
    if chosen is None:
        assert not any(room.fits(need) for room in candidates)
    else:
        assert chosen.fits(need)
