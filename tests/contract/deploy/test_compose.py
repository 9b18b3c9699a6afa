"""docker-compose.yml is a compose file with every service and server, and it and the Dockerfile leave nothing open."""

import re
import subprocess
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from headrace_cli.topology import SERVICES
from headrace_native import checkers, kafka, s3, weaviate

ROOT = Path(__file__).parents[3]
FILE = ROOT / "docker-compose.yml"
COMPOSE = yaml.safe_load(FILE.read_text(encoding="utf-8"))
CONTAINERS = COMPOSE["services"]
OURS = {name: one for name, one in CONTAINERS.items() if "build" in one}
SERVERS = {name: one for name, one in CONTAINERS.items() if "build" not in one}
ONE_SHOT = {"topics", "models", "cli"}
DOCKERFILE = (ROOT / "deploy" / "docker" / "Dockerfile").read_text(encoding="utf-8")


def load(loader: Path, file: Path) -> subprocess.CompletedProcess[str]:
    """Load a file with the loader of Docker Compose: schema and consistency. Values stay as written."""
    return subprocess.run(
        [loader, "--no-interpolation", "docker-compose.yml"],
        cwd=file.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_compose_loads_it(checker):
    """The official loader accepts it."""
    loaded = load(checker(checkers.compose_loader), FILE)
    assert loaded.returncode == 0, loaded.stderr


@pytest.mark.parametrize(
    ("right", "wrong"), [("mem_limit: 1g", "memory: 1g"), ("condition: service_healthy", "condition: service_well")]
)
def test_the_loader_is_no_rubber_stamp(checker, tmp_path, right, wrong):
    """An unknown key and an unknown condition are refused."""
    text = FILE.read_text(encoding="utf-8")
    assert right in text
    (tmp_path / "docker-compose.yml").write_text(text.replace(right, wrong), encoding="utf-8")
    assert load(checker(checkers.compose_loader), tmp_path / "docker-compose.yml").returncode != 0


def test_every_service_is_in_it():
    """Each service of the platform is a container of its own, built from the one Dockerfile."""
    assert {spec.name for spec in SERVICES} <= {one["build"]["args"]["SERVICE"] for one in OURS.values()}
    assert {one["build"]["dockerfile"] for one in OURS.values()} == {"deploy/docker/Dockerfile"}


@pytest.mark.parametrize("name", [name for name in OURS if name not in ONE_SHOT])
def test_a_container_is_stopped_no_sooner_than_its_service_has_drained(name):
    """A model call that is killed was paid for and is lost; generate drains for longer than a call takes."""
    service = OURS[name]["build"]["args"]["SERVICE"]
    settings = import_module(f"headrace_{service}.settings").Settings(kafka={"bootstrap": "nowhere:0"})
    assert int(OURS[name]["stop_grace_period"].removesuffix("s")) >= settings.drain_s + 5


def test_the_profiles_are_complete():
    """`core` and `gpu` each start every service once; `observability` adds to either."""
    for profile in ("core", "gpu"):
        started = [one["build"]["args"]["SERVICE"] for name, one in OURS.items()
                   if profile in one["profiles"] and name not in ONE_SHOT]  # fmt: skip
        assert sorted(started) == sorted(spec.name for spec in SERVICES)
    assert {name for name, one in SERVERS.items() if one["profiles"] == ["observability"]} == {
        "jaeger", "prometheus", "grafana",
    }  # fmt: skip


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_is_bounded_pinned_and_private(name):
    """Memory and logs are bounded, the image is of one version, and what is published is published on loopback."""
    one = CONTAINERS[name]
    assert one["mem_limit"]
    assert one["logging"]["options"]["max-size"]
    assert re.search(r":v?\d+\.\d+", one["image"])
    assert all(port.startswith("127.0.0.1:") for port in one.get("ports", []))
    assert "no-new-privileges:true" in one["security_opt"]


@pytest.mark.parametrize("name", OURS)
def test_our_containers_have_no_rights(name):
    """Read-only, without capabilities; what they write is memory or a named volume."""
    assert OURS[name]["read_only"] is True
    assert OURS[name]["cap_drop"] == ["ALL"]
    assert {volume.split(":")[0] for volume in OURS[name]["volumes"]} == {"models"}


@pytest.mark.parametrize("name", CONTAINERS)
def test_health_is_checked_and_waited_for(name):
    """Servers have a health check, services bring theirs in the image, and nobody waits for a mere start."""
    if name in SERVERS:
        assert CONTAINERS[name]["healthcheck"]["test"][0] == "CMD"
    for waited_for, how in CONTAINERS[name].get("depends_on", {}).items():
        assert how["condition"] == ("service_completed_successfully" if waited_for in ONE_SHOT else "service_healthy")
        assert set(CONTAINERS[name]["profiles"]) <= set(CONTAINERS[waited_for]["profiles"])


def test_no_secret_has_a_default():
    """A missing secret stops compose; none stands in the file."""
    secret = re.compile(r"PASSWORD|SECRET|SQL__URL|SIGNING_KEY")
    values = {(name, key): str(value) for name, one in CONTAINERS.items()
              for key, value in one.get("environment", {}).items() if secret.search(key)}  # fmt: skip
    assert values
    assert [key for key, value in values.items() if not re.fullmatch(r"\$\{\w+:\?[^}]+\}", value)] == []


def test_the_servers_are_those_that_tests_run_on():
    """One version of each server everywhere."""
    versions = {name: one["image"].rpartition(":")[2].lstrip("v") for name, one in SERVERS.items()}
    assert versions["kafka"] == kafka.VERSION
    assert versions["weaviate"] == weaviate.VERSION
    assert versions["s3"] == s3.VERSION


def test_the_image_runs_as_nobody_and_says_how_it_is():
    """A numeric user that is not root, a health check, and the uv that made the lock file."""
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)
    assert "/venv/probe.py" in re.search(r"^HEALTHCHECK .*$", DOCKERFILE, re.MULTILINE).group()
    locked = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    (version,) = [package["version"] for package in locked if package["name"] == "uv"]
    assert f'"uv=={version}"' in DOCKERFILE


def test_nothing_but_sources_reaches_the_build():
    """The context is a list of what may come in."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == {
        "pyproject.toml", "uv.lock", "libs", "services", "deploy/native",
        "deploy/docker/probe.py", "deploy/docker/start.sh",
    }  # fmt: skip
