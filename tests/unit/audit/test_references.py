"""What of a tenant can be erased, and what of a record tells of an erasure."""

from datetime import UTC, datetime

import pytest
from headrace_audit.domain import Decision, Head, Link, next_link
from headrace_audit.ocsf import record_of
from headrace_audit.references import Erasable, is_erasure, unseen_links
from headrace_audit.verification import Contents, verify

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def chain(*told: tuple[str, str]) -> list[Link]:
    """Make a chain of decisions, each an action about a request or a document of acme's."""
    links, head = list[Link](), Head("audit-0")
    for number, (action, name) in enumerate(told):
        of_document = action.startswith("document.")
        decision = Decision(
            record_id=f"e{number}",
            action=action,
            service="s",
            disposition="allowed",
            decided_at=NOON,
            tenant="acme",
            request_id="" if of_document else name,
            content_sha256="ab" * 32,
            facts={"document": name, "dataref": "blob:x"} if of_document else {"dataref": "y"},
        )
        links.append(next_link(head, record_of(decision, after=head, logged_at=NOON)))
        head = links[-1].head
    return links


def erasable(*told: tuple[str, str], tenant: str = "acme") -> tuple[list[str], list[str]]:
    """Return the requests and documents that can be erased."""
    found = Erasable(tenant)
    found.add(chain(*told))
    return list(found.requests), list(found.documents)


def test_what_ended_and_was_not_erased_since_can_be_erased():
    """In the order in which it ended; an open request and a document that is there cannot."""
    assert erasable(
        ("request.admitted", "open"),
        ("request.answered", "r1"),
        ("request.refused", "r2"),
        ("request.erased", "r2"),
        ("document.accepted", "there"),
        ("document.deleted", "gone"),
        ("document.deleted", "erased"),
        ("document.erased", "erased"),
        ("document.deleted", "back"),
        ("document.erased", "back"),
        ("document.deleted", "back"),
    ) == (["r1"], ["gone", "back"])


def test_another_tenants_content_is_not_found():
    """Whatever it is called."""
    assert erasable(("request.answered", "r1"), ("document.deleted", "d"), tenant="globex") == ([], [])


def test_what_is_no_record_of_ours_is_passed_over():
    """The verifier names it; this only looks."""
    (link,) = chain(("request.answered", "r1"))
    found = Erasable("acme")
    for text in ("", "[]", "{}", "null", link.record_json.replace("correlation_uid", "x")):
        found.add([Link(**{name: getattr(link, name) for name in Link.__slots__} | {"record_json": text})])
    assert list(found.requests) == []


def test_a_chain_counts_what_it_records_as_erased_and_stays_whole():
    """The report says it, per chain and in all."""
    links = chain(
        ("document.deleted", "d"), ("document.erased", "d"), ("request.erased", "r"), ("request.admitted", "q")
    )
    report = verify(links, Contents((links[-1].head,)))

    assert report.verified
    assert (report.erased, report.chains[0].erased, report.as_json()["erased"]) == (2, 2, 2)


@pytest.mark.parametrize("text", ['.erased","actor":', "request.erased", '"activity_name":"x.erased","actor":{}'])
def test_a_text_in_a_record_does_not_pass_for_an_erasure(text):
    """Facts come from services, and some of them from people."""
    (link,) = chain(("document.deleted", text))
    assert not is_erasure(link.record_json)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":{"activity_name":"x.erased","actor":1}}',
        '{"activity_name":"audit.signed_unseen","actor":{}}',
        '{"activity_name":"audit.signed_unseen","actor":{},"unmapped":{"facts":{"first":"x","last":"9"}}}',
        '{"activity_name":"audit.signed_unseen","actor":{},"unmapped":{"facts":{"first":"9","last":"1"}}}',
        '{"activity_name":"audit.signed_unseen","actor":{},"unmapped":[]}',
    ],
)
def test_what_only_looks_like_one_of_ours_counts_for_nothing(text):
    """An export may hold whatever somebody wrote; its verdict is the verifier's."""
    assert not is_erasure(text)
    assert unseen_links(text) == 0


def test_links_that_were_signed_unseen_are_counted():
    """From the first to the last that the record names."""
    facts = '"unmapped":{"facts":{"first":"3","last":"7"}}'
    assert unseen_links(f'{{"activity_name":"audit.signed_unseen","actor":{{}},{facts}}}') == 5
