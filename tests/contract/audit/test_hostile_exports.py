"""An export is a file from somebody else: whatever is in it, the verifier says so and does not fall over."""

import json
from itertools import pairwise

import pytest
from headrace_audit.notes import SigningKey
from headrace_audit.successions import SUCCESSIONS_MAX, succession
from headrace_audit.verification import CHAINS_MAX
from headrace_audit.verify import verify_export

from .forging import KEY, STRANGER, first_broken, tampered

DEEP = "[" * 200_000


@pytest.mark.parametrize(
    "change",
    [
        {"format": 5},
        {"format": None},
        {"manifest": 5},
        {"manifest": ["a"]},
        {"manifest": "\ud800\n\n\N{EM DASH} headrace-audit AAAA\n"},
        {"checkpoints": 5},
        {"checkpoints": [5]},
        {"checkpoints": ["no checkpoint"]},
        {"checkpoints": "no list"},
        {"successions": [None]},
        {"successions": {"a": 1}},
    ],
)
def test_a_header_of_other_types_is_not_trusted(export, change):
    """Numbers for texts, texts for lists."""
    assert isinstance(first_broken(tampered(export, lambda header, links: [header | change, *links])), str)


@pytest.mark.parametrize("header", [DEEP, "[]", "5", '"a"', "{}", "\0", "\N{ZERO WIDTH NO-BREAK SPACE}{}"])
def test_what_is_no_header_is_refused(tmp_path, header):
    """Also where a parser would run out of stack."""
    (tmp_path / "export.jsonl").write_text(header + "\n")
    assert "does not begin with a manifest" in first_broken(tmp_path / "export.jsonl")


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": float("inf")},
        {"sequence": "3"},
        {"sequence": 3.0},
        {"sequence": True},
        {"chain": ["audit-0"]},
        {"record_id": 5},
        {"record_id": None},
        {"record_json": DEEP},
        {"record_json": '{"metadata":' * 50_000},
        {"record_json": "\ud800"},
        {"record_json": {}},
        {"fingerprint": "\ud800"},
        {"previous_fingerprint": "zz"},
    ],
)
def test_a_link_of_other_types_is_named(export, change):
    """In its place; the links behind it are still counted."""

    def apply(header, links):
        links[2].update(change)
        return [header, *links]

    report = verify_export(tampered(export, apply), [KEY.verifier])
    assert [(one.chain, one.broken_at, one.length) for one in report.chains] == [("audit-0", 3, 6), ("audit-1", 0, 6)]


@pytest.mark.parametrize("line", [DEEP, "", "null", "5", "[]", "{}", "\0"])
def test_a_line_that_is_no_link_is_named(export, line):
    """It stands where the third was to come."""
    lines = export.read_text().splitlines()
    export.write_text("\n".join([*lines[:3], line, *lines[4:], ""]))
    assert first_broken(export) == ("audit-0", 3)


def test_a_line_without_end_is_not_read_into_memory(export, monkeypatch):
    """Its place is named, and so is what is missing behind it."""
    monkeypatch.setattr("headrace_audit.export_walk.LINE_BYTES_MAX", 10_000)
    lines = export.read_text().splitlines()
    export.write_text("\n".join([*lines[:3], "x" * 25_000, *lines[4:], ""]))

    report = verify_export(export, [KEY.verifier])
    assert [(one.chain, one.broken_at, one.length) for one in report.chains] == [("audit-0", 3, 3), ("audit-1", 1, 0)]


def test_chains_that_somebody_made_up_are_counted_and_bounded(export):
    """One is named; so many that they fill the memory are refused."""
    link = json.loads(export.read_text().splitlines()[1])

    def flood(header, links):
        return [header, *links, *(link | {"chain": f"audit-{number}"} for number in range(CHAINS_MAX + 1))]

    assert "chains" in first_broken(tampered(export, flood))


def test_a_name_that_a_terminal_obeys_is_shown_harmless(export):
    """Chains are named to people, and to programs that write UTF-8."""
    names = ["\x1b[2J", "\ud800", "\N{RIGHT-TO-LEFT OVERRIDE}"]

    def add(header, links):
        return [header, *links, *(links[0] | {"chain": name} for name in names)]

    shown = [one.chain for one in verify_export(tampered(export, add), [KEY.verifier]).chains]
    assert len(shown) == 5
    assert all(name.isascii() and name.isprintable() for name in shown)


def test_successions_are_bounded_and_read_once(export):
    """Each costs a signature: a line of strangers that leads to a trusted key must not cost its square."""
    line = [SigningKey(number.to_bytes(32)) for number in range(1, 300)] + [KEY]
    notes = [succession(old, new.verifier) for old, new in pairwise(line)]
    assert first_broken(tampered(export, lambda header, links: [header | {"successions": notes}, *links])) is None

    many = {"successions": [succession(STRANGER, KEY.verifier)] * (SUCCESSIONS_MAX + 1)}
    assert isinstance(first_broken(tampered(export, lambda header, links: [header | many, *links])), str)
