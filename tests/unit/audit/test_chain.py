"""Hash chains and their verifier: any single mutation of the record is found and its place named."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from headrace_audit.canonical import canonical
from headrace_audit.domain import GENESIS, Decision, Head, Link, fingerprint, next_link
from headrace_audit.ocsf import record_of
from headrace_audit.verification import Contents, first_difference, verify
from hypothesis import given
from hypothesis import strategies as st

_NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
_TEXTS = ("record_id", "tenant", "request_id", "previous_fingerprint", "fingerprint", "record_json")


def decision(number: int, **fields) -> Decision:
    """Make the n-th decision."""
    facts = {"action": "request.admitted", "disposition": "allowed", "facts": {"n": str(number)}} | fields
    return Decision(
        record_id=f"record-{number}",
        service="moderate",
        decided_at=_NOON + timedelta(seconds=number),
        tenant="acme",
        request_id=f"request-{number // 2}",
        **facts,
    )


def chain(length: int, name: str = "audit-0", *, salt: str = "") -> list[Link]:
    """Make a chain; another salt makes another history."""
    links, head = [], Head(name)
    for number in range(1, length + 1):
        facts = {"salt": salt}
        link = next_link(head, record_of(decision(number, facts=facts), after=head, logged_at=_NOON))
        links.append(link)
        head = head_of(links)
    return links


def head_of(links: list[Link]) -> Head:
    """Return where a chain ends."""
    return Head(links[-1].chain, links[-1].sequence, links[-1].fingerprint)


def broken(links: list[Link], heads: list[Head]) -> tuple[str, int] | None:
    """Verify as the database reader does: in order of chain and sequence; return the first break."""
    report = verify(sorted(links, key=lambda link: (link.chain, link.sequence)), Contents(tuple(heads)))
    return next(((one.chain, one.broken_at) for one in report.chains if not one.verified), None)


def test_an_untouched_chain_verifies():
    """Every link follows the one before, from the genesis to the head."""
    links = chain(5)

    report = verify(links, Contents((head_of(links),)))

    assert report.verified
    assert report.links == 5
    assert report.chains[0].head_fingerprint == links[-1].fingerprint
    assert links[0].previous_fingerprint == GENESIS


def test_the_fingerprint_can_be_computed_by_anybody():
    """It is sha256 over the previous fingerprint's 32 bytes and the canonical JSON, nothing of ours."""
    link = chain(2)[1]

    assert link.fingerprint == fingerprint(link.previous_fingerprint, link.record_json.encode())
    assert canonical(json.loads(link.record_json)).decode() == link.record_json


@given(st.data())
def test_a_changed_byte_is_named(data):
    """Whatever column of whatever link changes, exactly that sequence is the first broken one."""
    links = chain(6)
    at = data.draw(st.integers(0, 5))
    column = data.draw(st.sampled_from(_TEXTS))
    text = getattr(links[at], column)
    position = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda char: char != text[position]))

    mutated = replace(links[at], **{column: text[:position] + other + text[position + 1 :]})

    assert broken([*links[:at], mutated, *links[at + 1 :]], [head_of(links)]) == ("audit-0", at + 1)


@given(st.integers(0, 5))
def test_a_deleted_link_is_named(at):
    """The gap is named, at the end of the chain as well."""
    links = chain(6)

    assert broken(links[:at] + links[at + 1 :], [head_of(links)]) == ("audit-0", at + 1)


@given(st.integers(0, 5))
def test_a_truncated_chain_is_named(kept):
    """The head tells what is missing, down to nothing left."""
    links = chain(6)

    assert broken(links[:kept], [head_of(links)]) == ("audit-0", kept + 1)


@given(st.lists(st.integers(0, 5), min_size=2, max_size=2, unique=True).map(sorted))
def test_swapped_links_are_named(pair):
    """Exchanging two records in their places breaks at the earlier one."""
    one, two = pair
    links = chain(6)
    swapped = list(links)
    swapped[one] = replace(links[two], sequence=links[one].sequence)
    swapped[two] = replace(links[one], sequence=links[two].sequence)

    assert broken(swapped, [head_of(links)]) == ("audit-0", one + 1)


@given(st.integers(0, 5), st.integers(-3, 12))
def test_a_moved_link_is_named(at, to):
    """A changed sequence leaves a gap or a second claim; the earlier of both is named."""
    links = chain(6)
    moved = replace(links[at], sequence=to)
    found = broken([*links[:at], moved, *links[at + 1 :]], [head_of(links)])

    if to == at + 1:
        assert found is None
    else:
        assert found is not None
        assert found[1] in {at + 1, to, 1}


@given(st.integers(0, 5))
def test_a_link_moved_to_another_chain_is_named(at):
    """The chain that lost it and the one that got it are both broken."""
    ours, theirs = chain(6), chain(3, "audit-1")
    moved = replace(ours[at], chain="audit-1")
    links = [*ours[:at], *ours[at + 1 :], *theirs, moved]
    report = verify(
        sorted(links, key=lambda link: (link.chain, link.sequence)),
        Contents((head_of(ours), head_of(theirs))),
    )

    assert report.chains[0].broken_at == at + 1
    assert not report.chains[1].verified


@given(st.integers(1, 5))
def test_a_fork_within_the_record_is_named(at):
    """A second continuation, well chained in itself, cannot stand beside the first."""
    links, other = chain(6), chain(6, salt="other")

    assert broken(links + other[at:], [head_of(links)]) == ("audit-0", at + 1)


@given(st.integers(1, 5))
def test_a_fork_that_replaced_the_record_is_found_by_any_copy(at):
    """The verifier alone cannot see a chain rewritten with its head; a copy kept elsewhere names where they part."""
    kept = chain(at)
    ours, theirs = kept + _continue(kept, "ours"), kept + _continue(kept, "theirs")

    assert broken(theirs, [head_of(theirs)]) is None
    assert first_difference(ours, theirs) == ("audit-0", at + 1)
    assert first_difference(ours, list(ours)) is None
    assert first_difference(ours, ours[:-1]) == ("audit-0", ours[-1].sequence)


def _continue(links: list[Link], salt: str) -> list[Link]:
    head, more = head_of(links), []
    for number in range(len(links) + 1, 8):
        more.append(next_link(head, record_of(decision(number, facts={"salt": salt}), after=head, logged_at=_NOON)))
        head = head_of(more)
    return more


@pytest.mark.parametrize(
    ("changed", "at"),
    [
        (lambda head: replace(head, sequence=2), 3),
        (lambda head: replace(head, sequence=5), 4),
        (lambda head: replace(head, fingerprint=GENESIS), 3),
    ],
)
def test_a_changed_head_is_named(changed, at):
    """The head is part of the record: shortening, stretching or replacing it is found."""
    links = chain(3)

    assert broken(links, [changed(head_of(links))]) == ("audit-0", at)


def test_a_removed_head_is_named():
    """Every append writes a head, so links without one were tampered with."""
    assert broken(chain(3), []) == ("audit-0", 1)


def test_a_record_for_another_place_is_not_linked():
    """The record names its chain and sequence; linking it elsewhere is a bug and fails."""
    record = record_of(decision(1), after=Head("audit-0"), logged_at=_NOON)

    with pytest.raises(ValueError, match="another place"):
        next_link(Head("audit-1"), record)
