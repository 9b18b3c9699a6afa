"""A container's share of a machine is read from control groups of either version, as the kernel lays them out."""

from pathlib import Path

import pytest
from headrace_inference.cpu_quota import quota_cores
from hypothesis import given
from hypothesis import strategies as st


class Machine:
    """A tree of control groups in a folder, and the file that says which groups the process is in."""

    def __init__(self, folder: Path, membership: str) -> None:
        self.folder = folder / "cgroup"
        self.folder.mkdir()
        self._membership = folder / "membership"
        self._membership.write_text(membership, "utf-8")

    def limit(self, group: str, text: str) -> "Machine":
        """Give a group of version 2 a quota."""
        place = self.folder / group
        place.mkdir(parents=True, exist_ok=True)
        (place / "cpu.max").write_text(text, "utf-8")
        return self

    def limit_v1(self, group: str, quota: object, period: object = 100_000) -> "Machine":
        """Give a group of version 1 a quota."""
        place = self.folder / group
        place.mkdir(parents=True, exist_ok=True)
        (place / "cpu.cfs_quota_us").write_text(f"{quota}\n", "utf-8")
        (place / "cpu.cfs_period_us").write_text(f"{period}\n", "utf-8")
        return self

    def cores(self) -> int | None:
        """Return what the process may use."""
        return quota_cores(self.folder, self._membership)


V2 = "0::/kubepods/pod1/main\n"
V1 = "11:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n3:cpuset:/docker/abc\n0::/\n"


@pytest.mark.parametrize(
    ("text", "cores"),
    [("200000 100000", 2), ("250000 100000", 3), ("10000 100000", 1), ("max 100000", None), ("", None), ("1 0", None)],
)
def test_a_group_of_version_2_has_its_quota_in_one_file(tmp_path, text, cores):
    """Counted up, at least one; `max` and what is no quota limit nothing."""
    assert Machine(tmp_path, V2).limit("kubepods/pod1/main", text + "\n").cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [(200_000, 2), (150_001, 2), (1, 1), (-1, None), ("?", None)])
@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
def test_a_group_of_version_1_has_it_in_two(tmp_path, mount, quota, cores):
    """The hierarchy is mounted under all its controllers, or under a link of one; -1 is none."""
    assert Machine(tmp_path, V1).limit_v1(f"{mount}/docker/abc", quota).cores() == cores


def test_the_least_of_all_groups_around_counts(tmp_path):
    """A pod's quota holds for each of its containers."""
    machine = Machine(tmp_path, V2).limit("kubepods/pod1/main", "800000 100000").limit("kubepods/pod1", "300000 100000")
    assert machine.limit("kubepods", "max 100000").limit("kubepods/pod2", "100000 100000").cores() == 3


def test_a_container_that_sees_its_own_group_as_the_root_reads_it_there(tmp_path):
    """The machine's path is not in its mount, of either version; nor is a path that leads out of it."""
    for number, (membership, limit) in enumerate(
        [(V1, "cpu,cpuacct"), (V1, "cpu"), ("0::/\n", ""), (V2, ""), ("0::/../other\n", "")]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        machine = Machine(folder, membership).limit("../other", "100000 100000")
        limited = machine.limit_v1(limit, 200_000) if limit else machine.limit("", "200000 100000")
        assert limited.cores() == 2


def test_both_versions_may_be_mounted_at_once(tmp_path):
    """The hybrid layout has version 2 beside the hierarchies of version 1."""
    machine = Machine(tmp_path, "1:cpu:/\n0::/service\n").limit("unified/service", "400000 100000")
    assert machine.cores() == 4
    assert machine.limit_v1("cpu", 300_000).cores() == 3


def test_a_group_with_a_name_that_is_no_text_limits_nothing(tmp_path):
    """The kernel takes any bytes."""
    machine = Machine(tmp_path, "")
    (tmp_path / "membership").write_bytes(b"0::/\xff\n")
    assert machine.cores() is None


def test_a_machine_without_control_groups_limits_nothing(tmp_path):
    """As on another system, or in a jail without /proc."""
    assert quota_cores(tmp_path / "absent", tmp_path / "absent") is None


@given(st.integers(1, 10**7), st.integers(1000, 10**6))
def test_a_quota_is_counted_up_and_never_to_nothing(tmp_path_factory, quota, period):
    """As many cores as it takes to use it up."""
    cores = Machine(tmp_path_factory.mktemp("machine"), "0::/\n").limit("", f"{quota} {period}").cores()
    assert cores is not None
    assert cores >= 1
    assert (cores - 1) * period < quota <= cores * period
