"""What an image starts: its service or the command, as this replica, with the container's arguments."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

DOCKER = Path(__file__).parents[3] / "deploy" / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
PRINT_CALL = '#!/bin/sh\necho "$(basename "$0") $*"\necho "${HEADRACE_KAFKA__INSTANCE-unset}"\n'


@pytest.fixture
def image(tmp_path):
    """Lay out what the Dockerfile puts into /venv, with programs that say how they were called."""
    (tmp_path / "bin").mkdir()
    shutil.copy(DOCKER / "start.sh", tmp_path / "bin" / "start")
    for program in ("python", "headrace"):
        (tmp_path / "bin" / program).write_text(PRINT_CALL)
        (tmp_path / "bin" / program).chmod(0o755)
    return tmp_path


def start(image: Path, service: str, *arguments: str, **environment: str) -> list[str]:
    """Start the image of a service as a container of its own, and return what its program was called with."""
    (image / "service").write_text(f"{service}\n")
    environment = {"PATH": f"{image / 'bin'}:{os.environ['PATH']}", "HOSTNAME": "replica-1", **environment}
    done = subprocess.run(["start", *arguments], env=environment, cwd="/", capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_service_is_started_as_its_module(image):
    """Its replica's name is the host's."""
    assert start(image, "meter") == ["python -m headrace_meter", "replica-1"]


def test_the_command_is_started_with_the_arguments_of_the_container(image):
    """Word for word."""
    assert start(image, "headrace", "ask", "In which class?") == ["headrace ask In which class?", "replica-1"]


@pytest.mark.parametrize("name", ["embed-7", ""])
def test_a_replica_may_be_given_another_name(image, name):
    """An empty one, too: what was said counts."""
    assert start(image, "embed", HEADRACE_KAFKA__INSTANCE=name) == ["python -m headrace_embed", name]


def test_the_image_has_the_script_where_its_entry_point_looks():
    """Copied with its mode: it must be executable in the repository."""
    assert os.access(DOCKER / "start.sh", os.X_OK)
    assert "COPY deploy/docker/start.sh /venv/bin/start" in DOCKERFILE
    assert 'RUN echo "$SERVICE" > /venv/service' in DOCKERFILE
    assert 'ENTRYPOINT ["start"]' in DOCKERFILE
