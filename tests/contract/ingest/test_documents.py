"""What becomes of documents: versions, repeats, deletions, failures, and who is told what.

Every expectation holds on the registry in memory and on the one in SQL.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from headrace_errors import Overloaded, Refused
from headrace_ingest import handlers
from headrace_ingest.adapters.events import outgoing
from headrace_ingest.domain.admission import IntakeLimits
from headrace_ingest.domain.documents import State
from headrace_ingest.domain.facts import Decided, DocumentDeleted
from headrace_ingest.domain.parsed import ParsingError, Reason


async def test_a_document_is_submitted_chunked_and_indexed(world) -> None:
    """Every step is told once, with its chunks in parts of bounded size."""
    await world.index(b"one two three")
    assert world.registry.statuses() == [(1, "submitted", ""), (1, "chunked", ""), (1, "indexed", "")]
    parts = world.registry.parts()
    assert [(part.part, part.parts, [chunk.text for chunk in part.chunks]) for part in parts] == [
        (0, 2, ["one", "two"]),
        (1, 2, ["three"]),
    ]
    version = await world.registry.newest("acme", "a.txt")
    assert version
    assert (version.chunks, version.pages, version.title, version.allow) == (3, 1, "Title", ("everyone",))
    assert {stage: took > 0 for stage, took in version.timings_ms.items()} == {"parse": True, "index": True}
    assert [fact.action for fact in world.registry.told if isinstance(fact, Decided)] == ["document.accepted"]


async def test_chunk_ids_depend_on_the_text_and_its_place_only(world) -> None:
    """So that a crash that repeats the step repeats the ids."""
    await world.index(b"same same")
    await world.submit(b"same same", allow=("staff",))
    await world.digest_all()
    first, second = world.registry.parts()
    assert [chunk.chunk_id for chunk in first.chunks] == [chunk.chunk_id for chunk in second.chunks]
    assert len({chunk.chunk_id for chunk in first.chunks}) == 2


async def test_the_same_file_for_the_same_readers_is_unchanged_once_indexed(world) -> None:
    """It is told, with the submission that it answers, and is no version."""
    await world.index()
    again = await world.submit()
    assert (again.version, again.state) == (1, State.UNCHANGED)
    assert world.registry.statuses()[-1] == (1, "unchanged", "")
    assert await world.registry.states() == {1: "indexed"}


async def test_a_changed_file_and_changed_readers_are_each_the_next_version(world) -> None:
    """The order in which readers are named does not count."""
    await world.index(b"old")
    assert (await world.submit(b"new")).version == 2
    await world.digest_all()
    await world.settle(2)
    assert (await world.submit(b"new", allow=("staff", "everyone"))).version == 3
    await world.digest_all()
    await world.settle(3)
    assert (await world.submit(b"new", allow=("everyone", "staff"))).state is State.UNCHANGED


async def test_a_repeat_before_it_is_indexed_sends_the_version_on_its_way_again(world) -> None:
    """A no-op only once it is indexed: what was sent may have been lost."""
    await world.submit()
    assert (await world.submit()).state is State.SUBMITTED
    await world.digest_all()
    again = await world.submit()
    assert (again.version, again.attempt) == (1, 2)
    await world.digest_all()
    assert len(world.registry.parts()) == 4
    assert await world.registry.states() == {1: "chunked"}


async def test_a_redelivered_submission_changes_nothing(world) -> None:
    """Not even when a newer one came in between."""
    await world.submit(b"old", event_id="first")
    await world.digest_all()
    await world.submit(b"new", event_id="second")
    assert (await world.submit(b"old", event_id="first")).version == 1
    assert await world.registry.states() == {1: "chunked", 2: "submitted"}


async def test_a_redelivered_submission_without_a_version_of_its_own_is_answered(world) -> None:
    """It said nothing new when it came, so the document as it stands is the answer."""
    await world.index(b"same")
    await world.submit(b"same", event_id="again")
    assert (await world.submit(b"same", event_id="again")).version == 1


async def test_producers_may_choose_the_same_event_id(world) -> None:
    """An event id says nothing across tenants, documents and sources."""
    await world.submit(b"one", event_id="1")
    assert (await world.submit(b"two", event_id="1", name="b.txt")).document == "b.txt"
    assert (await world.submit(b"three", event_id="1", tenant="globex", name="c.txt")).tenant == "globex"
    await world.submit(b"four", event_id="1", source="/other")
    assert await world.registry.states() == {1: "failed", 2: "submitted"}


async def test_a_reused_event_id_does_not_lose_a_change(world) -> None:
    """Other bytes, other readers and a deletion each count, though the producer numbers them alike; repeats do not."""
    await world.submit(b"old", event_id="1")
    assert (await world.submit(b"new", event_id="1")).version == 2
    assert (await world.submit(b"new", event_id="1", allow=("staff",))).version == 3
    buried = await world.forget("a.txt", world.cause("1"), "staff")
    assert (buried.version, buried.deleted) == (4, True)
    assert (await world.submit(b"new", event_id="1")).version == 2
    assert (await world.forget("a.txt", world.cause("1"), "staff")).version == 4


async def test_what_is_told_of_documents_has_ids_of_its_own(world) -> None:
    """Also when their producers chose the same event id: consumers drop an id that they know."""
    await world.submit(b"one", event_id="1")
    await world.submit(b"two", event_id="1")
    await world.submit(b"one", event_id="1", name="b.txt")
    await world.submit(b"one", event_id="1", tenant="globex")
    told = [outgoing(fact, world.now).envelope.id for fact in world.registry.told]
    assert len(told) == len(set(told))


async def test_a_failed_version_changes_nothing_and_can_be_tried_again(world) -> None:
    """What was indexed before still counts as the document's content."""
    await world.index(b"good")
    world.parser.error = ParsingError(Reason.ENCRYPTED, "protected by a password")
    await world.submit(b"locked")
    await world.digest_all()
    assert world.registry.statuses()[-1] == (2, "failed", "encrypted")
    assert (await world.submit(b"good")).state is State.UNCHANGED
    assert (await world.submit(b"locked")).version == 3


async def test_a_version_without_its_bytes_fails(world) -> None:
    """It does not wait for ever."""
    await world.submit()
    world.blobs.kept.clear()
    await world.digest_all()
    assert world.registry.statuses()[-1] == (1, "failed", "blob_not_found")


async def test_a_version_overtaken_before_it_was_parsed_is_superseded(world) -> None:
    """Whether it waits or is being parsed: its chunks are not sent."""

    async def overtake() -> None:
        world.parser.meanwhile = None
        await world.submit(b"newer")

    await world.submit(b"old")
    world.parser.meanwhile = overtake
    await world.digest_all()
    assert await world.registry.states() == {1: "failed", 2: "submitted"}
    assert (1, "failed", "superseded") in world.registry.statuses()
    assert not world.registry.parts()


async def test_a_version_overtaken_later_ends_when_the_newer_one_is_indexed(world) -> None:
    """Every version ends, also one of which nothing is heard any more."""
    await world.submit(b"old")
    await world.digest_all()
    await world.submit(b"new")
    await world.digest_all()
    await world.settle(2)
    assert await world.registry.states() == {1: "failed", 2: "indexed"}
    await world.settle(1)
    assert await world.registry.states() == {1: "failed", 2: "indexed"}


async def test_what_the_index_says_first_counts(world) -> None:
    """And what does not fit the version is ignored."""
    await world.submit()
    await world.digest_all()
    await world.settle(1, State.DELETED)
    await world.settle(7)
    assert await world.registry.states() == {1: "chunked"}
    await world.settle(1, State.FAILED, reason="model_missing")
    await world.settle(1, State.INDEXED)
    assert world.registry.statuses()[-1] == (1, "failed", "model_missing")


async def test_a_deletion_is_the_next_version_and_ends_deleted(world) -> None:
    """The same file afterwards is a new version."""
    await world.index()
    buried = await world.forget("a.txt", world.cause())
    assert (buried.version, buried.deleted, buried.state) == (2, True, State.SUBMITTED)
    assert buried.allow == ("everyone",)
    assert [fact.version.version for fact in world.registry.told if isinstance(fact, DocumentDeleted)] == [2]
    await world.digest_all()
    await world.settle(2, State.DELETED)
    assert world.registry.statuses()[-1] == (2, "deleted", "")
    assert (await world.forget("a.txt", world.cause())).version == 2
    assert (await world.submit()).version == 3


async def test_a_deletion_under_way_is_sent_again_when_asked_again(world) -> None:
    """Under the same version."""
    await world.index()
    await world.forget("a.txt", world.cause())
    again = await world.forget("a.txt", world.cause())
    assert (again.version, again.attempt) == (2, 2)
    assert len([fact for fact in world.registry.told if isinstance(fact, DocumentDeleted)]) == 2


async def test_who_may_not_read_a_document_can_neither_replace_nor_delete_it(world) -> None:
    """It is not there for them; the version that stands counts, not one that failed after it."""
    await world.submit(b"salaries", allow=("staff",), principals=("alice", "staff", "everyone"))
    await world.digest_all()
    await world.settle(1)
    refused = await world.submit(b"nothing", principals=("bob", "everyone"))
    assert (refused.version, refused.state, refused.reason) == (0, State.FAILED, "unknown_document")
    assert (await world.submit(b"salaries", allow=("staff",), principals=("bob",))).reason == "unknown_document"
    with pytest.raises(Refused) as unknown:
        await world.forget("a.txt", world.cause(), "bob", "everyone")
    assert unknown.value.reason == "unknown_document"
    assert await world.registry.states() == {1: "indexed"}
    world.parser.error = ParsingError(Reason.ENCRYPTED, "protected by a password")
    await world.submit(b"locked", principals=("staff",))
    await world.digest_all()
    assert (await world.submit(b"nothing", principals=("everyone",))).reason == "unknown_document"
    await world.forget("a.txt", world.cause(), "staff")
    assert (await world.submit(b"nothing", principals=("everyone",))).version == 4, "the name is free again"


async def test_readers_and_who_handed_it_in_may_know_where_a_document_stands(world) -> None:
    """The one without a name is everyone, who is anyone without a name; a name is somebody's own."""
    version = await world.submit(allow=("staff",))
    assert version.cause.principal == "alice"
    shown = {first: version.shown_to((first, "everyone")) for first in ("alice", "staff", "bob", "everyone")}
    assert shown == {"alice": True, "staff": True, "bob": False, "everyone": False}
    unnamed = replace(version, cause=replace(version.cause, principal=""))
    assert (unnamed.shown_to(("everyone",)), unnamed.shown_to(("bob", "everyone"))) == (True, False)


async def test_what_never_was_cannot_be_deleted(world) -> None:
    """And is told so."""
    with pytest.raises(Refused) as refused:
        await world.forget("never.txt", world.cause())
    assert refused.value.reason == "unknown_document"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"name": "a\x00.txt"}, "bad_name"),
        ({"name": "../a.txt"}, "bad_name"),
        ({"name": "a.exe"}, "unsupported_type"),
        ({"tenant": "nobody"}, "unknown_tenant"),
        ({"allow": ("stranger",)}, "unknown_principal"),
        ({"allow": ("",)}, "invalid_request"),
        ({"allow": ("staff",) * 65}, "invalid_request"),
        ({"content": b"x" * 11, "limits": IntakeLimits(file_bytes_max=10)}, "too_large"),
    ],
)
async def test_a_refusal_is_told_and_is_no_version(world, asked: dict[str, Any], reason: str) -> None:
    """Nothing is stored of it; the audit record hears of it."""
    refused = await world.submit(**asked)
    assert (refused.version, refused.state, refused.reason) == (0, State.FAILED, reason)
    assert world.registry.statuses() == [(0, "failed", reason)]
    assert await world.registry.page("acme", limit=10) == []
    assert not world.blobs.kept
    assert [fact.disposition for fact in world.registry.told if isinstance(fact, Decided)] == ["blocked"]


async def test_too_many_documents_under_way_make_submissions_wait(world) -> None:
    """Nothing is stored of the one that has to wait."""
    limits = IntakeLimits(open_max=1)
    await world.submit(limits=limits)
    with pytest.raises(Overloaded):
        await world.submit(name="b.txt", limits=limits)


async def test_what_others_were_working_on_is_sent_again_to_a_new_bus(world) -> None:
    """Chunked versions and deletions; not what waits, nor what has ended, nor what a newer version overtook."""
    await world.index()
    await world.submit(name="old.txt")
    await world.digest_all()
    await world.submit(b"newer", name="old.txt")
    for name in ("waiting.txt", "chunked.txt", "deleted.txt"):
        await world.submit(name=name)
    await world.forget("deleted.txt", world.cause())
    waiting = await world.registry.newest("acme", "waiting.txt")
    await world._digest(await world.registry.newest("acme", "chunked.txt"))
    assert await handlers.resend_all(registry=world.registry, clock=world.clock) == 3
    again = await world.registry.newest("acme", "chunked.txt")
    assert again
    assert (again.state, again.attempt) == (State.SUBMITTED, 2)
    assert await world.registry.newest("acme", "waiting.txt") == waiting
    assert await world.registry.states("old.txt") == {1: "failed", 2: "submitted"}
    assert len([fact for fact in world.registry.told if isinstance(fact, DocumentDeleted)]) == 2


async def test_giving_up_fails_a_waiting_version_only(world) -> None:
    """A fault of ours has a reason, too."""
    waiting = await world.submit()
    error = ParsingError(Reason.INTERNAL_ERROR, "a fault of ours")
    give_up = partial(handlers.give_up, error=error, registry=world.registry, clock=world.clock)
    await give_up(waiting)
    await give_up(replace(waiting, version=9))
    assert world.registry.statuses()[-1] == (1, "failed", "internal_error")


async def test_documents_are_listed_by_path_in_pages(world) -> None:
    """The newest version of each; deleted ones only when asked for."""
    for name in ("b/2.txt", "a.txt", "b/1.txt", "b_.txt"):
        await world.submit(name=name)
    await world.submit(b"newer", name="b/1.txt")
    await world.forget("a.txt", world.cause())
    await world.settle(2, State.DELETED)

    async def names(**asked: Any) -> list[tuple[str, int]]:
        page = await world.registry.page("acme", **{"limit": 10, **asked})
        return [(version.document, version.version) for version in page]

    assert await names() == [("b/1.txt", 2), ("b/2.txt", 1), ("b_.txt", 1)]
    assert await names(prefix="b/", limit=1) == [("b/1.txt", 2)]
    assert await names(prefix="b/", after="b/1.txt") == [("b/2.txt", 1)]
    assert await names(prefix="B/") == []
    assert await names(with_deleted=True, limit=1) == [("a.txt", 2)]
    assert await world.registry.page("globex", limit=10) == []
