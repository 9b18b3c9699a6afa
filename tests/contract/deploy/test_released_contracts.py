"""`make check` refuses what readers of the last release of the contracts could not live with."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROTO = Path(__file__).parents[3] / "proto"
QUERY, TOPICS = "headrace/query/v1/query.proto", "topics.yaml"


@pytest.fixture
def proto(tmp_path):
    """Copy proto/, to be changed."""
    return shutil.copytree(PROTO, tmp_path / "proto", ignore=shutil.ignore_patterns("__pycache__"))


def change(file: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, file.read_text(encoding="utf-8"), count=1, flags=re.MULTILINE)
    assert count == 1, f"{pattern} is not in {file.name}"
    file.write_text(text, encoding="utf-8")


def check(proto: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(proto / "release.py"), "--check"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_stands_in_the_repository_breaks_nothing(proto):
    """The contracts as they are keep every promise of the newest release."""
    assert check(proto).returncode == 0, check(proto).stderr


def test_a_removed_field_is_refused_by_name(proto):
    """Old readers would miss it."""
    change(proto / QUERY, r"^  string question = .*\n", "")
    refused = check(proto)
    assert refused.returncode == 1
    assert 'field "2" with name "question"' in refused.stderr


def test_a_field_of_another_type_is_refused(proto):
    """Old readers would misread it."""
    change(proto / QUERY, r"^  string question = ", "  bytes question = ")
    assert check(proto).returncode == 1


def test_a_new_field_is_welcome(proto):
    """Old readers pass over it."""
    change(proto / QUERY, r"^(  string question = .*\n)", r"\1  // New.\n  string brand_new = 99;\n")
    assert check(proto).returncode == 0, check(proto).stderr


@pytest.mark.parametrize(
    ("pattern", "replacement", "said"),
    [
        (
            r"headrace\.feedback\.submitted\.v1:",
            "headrace.feedback.given.v1:",
            "headrace.feedback.submitted.v1 is gone",
        ),
        (r"key: chain", "key: tenant", "headrace.audit.recorded.v1: key was chain, is tenant"),
        (r"partitions: 4", "partitions: 8", "headrace.query.requested.v1: partitions was 4, is 8"),
        (
            r"claim_check: false # stock tools",
            "claim_check: true #",  # they would find an empty body where the message was
            "headrace.answer.completed.v1: claim_check was false, is true",
        ),
    ],
)
def test_a_topic_that_breaks_its_promise_is_refused(proto, pattern, replacement, said):
    """Topics are part of the contract: their names, keys, encodings and partitions, and that the payload is in them."""
    change(proto / TOPICS, pattern, replacement)
    refused = check(proto)
    assert refused.returncode == 1
    assert said in refused.stderr


def test_a_topic_is_free_to_stop_replacing_large_payloads(proto):
    """Who follows references reads whole payloads as well."""
    change(proto / TOPICS, r"^  claim_check: true", "  claim_check: false")
    assert check(proto).returncode == 0, check(proto).stderr
