"""Files that go over a narrow way arrive as they were, or not at all."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "deploy" / "gpu" / "parts.py"
FILES = {"big.whl": bytes(range(256)) * 10, "small.whl": b"abc", "exact.whl": b"x" * 1000, "empty.txt": b""}


@pytest.fixture
def parts(tmp_path) -> Path:
    """Cut files of several sizes into parts of at most 1,000 bytes."""
    (tmp_path / "wheels").mkdir()
    for name, data in FILES.items():
        (tmp_path / "wheels" / name).write_bytes(data)
    run("cut", tmp_path / "wheels", tmp_path / "parts", "--part-bytes", "1000")
    return tmp_path / "parts"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the script, as a machine with nothing but Python does."""
    return subprocess.run(
        [sys.executable, "-I", str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_what_was_cut_is_joined_as_it_was(parts, tmp_path):
    """No part is larger than the way is wide."""
    assert max(part.stat().st_size for part in parts.iterdir() if part.suffix != ".json") == 1000
    assert run("join", parts, tmp_path / "there").returncode == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()} == FILES


def test_parts_may_come_on_several_journeys(parts, tmp_path):
    """What is whole is joined; what is missing is named, until it has come."""
    late = (parts / "big.whl.001").rename(tmp_path / "late")
    first = run("join", parts, tmp_path / "there")
    assert (first.returncode, first.stdout) == (1, "big.whl: 1 of 3 parts are not here: big.whl.001\n")
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["empty.txt", "exact.whl", "small.whl"]
    late.rename(parts / "big.whl.001")
    assert run("join", parts, tmp_path / "there").returncode == 0


def test_a_damaged_part_makes_no_file(parts, tmp_path):
    """The file's hash decides."""
    (parts / "small.whl.000").write_bytes(b"abd")
    done = run("join", parts, tmp_path / "there")
    assert (done.returncode, "damaged" in done.stdout) == (1, True)
    assert not list((tmp_path / "there").glob("small*"))
