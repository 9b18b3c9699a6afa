"""What is stored of a deleted document can be erased, by whoever could read it, and the audit record says so."""

import pytest
from headrace_errors import Refused
from headrace_ingest.adapters.events import outgoing
from headrace_ingest.domain.documents import State
from headrace_ingest.domain.facts import Decided
from headrace_ingest.domain.parsed import ParsingError, Reason


def erasures(world) -> list[Decided]:
    """Return what was told of erasures."""
    return [fact for fact in world.registry.told if isinstance(fact, Decided) and fact.action == "document.erased"]


async def test_all_that_was_ever_stored_of_a_deleted_document_is_erased(world) -> None:
    """Files and texts of every version; each is an audited decision with the hash that the record refers to it by."""
    for content in (b"old", b"new"):
        await world.index(content)
    await world.delete()
    stored = set(world.blobs.kept)
    erased = await world.erase()

    assert {("acme", sha256) for sha256 in erased} == stored
    assert world.blobs.kept == {}
    told = [(fact.version.version, fact.version.content_sha256) for fact in erasures(world)]
    assert sorted(told) == [(1, "blob-b'old'"), (2, "blob-b'new'")]
    payload = outgoing(erasures(world)[0], world.now).payload
    assert payload.facts["dataref"] == f"blob:{payload.content_sha256}"


@pytest.mark.parametrize("together_max", [1, 2, 3])
async def test_many_contents_are_erased_in_several_transactions(world, together_max) -> None:
    """Each takes a bounded number of them, erased or not; what another document holds stays."""
    for number in range(5):
        await world.index(b"content %d" % number)
    await world.index(b"content 2", name="b.txt")
    await world.delete()

    erased = await world.erase(together_max=together_max)
    assert sorted(erased) == [f"blob-b'content {number}'" for number in (0, 1, 3, 4)]
    assert len(erasures(world)) == 4
    assert list(world.blobs.kept) == [("acme", "blob-b'content 2'")]


async def test_erased_again_it_is_the_same_decision(world) -> None:
    """Killed between the erasure and its record, or asked twice: the event ids are the same."""
    await world.index()
    await world.delete()
    for _ in range(2):
        await world.erase()

    ids = [outgoing(fact, world.now).envelope.id for fact in erasures(world)]
    assert ids == ids[:1] * 2


async def test_a_document_that_a_search_may_find_is_not_erased(world) -> None:
    """Neither before its deletion nor while that is under way, nor once it was submitted again."""

    async def refused() -> str:
        with pytest.raises(Refused) as error:
            await world.erase()
        return error.value.reason

    await world.index()
    assert await refused() == Reason.NOT_DELETED
    await world.forget("a.txt", world.cause())
    assert await refused() == Reason.NOT_DELETED
    await world.settle(2, State.DELETED)
    await world.submit(b"back again")
    assert await refused() == Reason.NOT_DELETED
    assert len(world.blobs.kept) == 2


async def test_what_another_document_holds_stays_until_that_is_deleted_too(world) -> None:
    """The same bytes are stored once a tenant."""
    await world.index(b"same")
    await world.index(b"same", name="b.txt")
    await world.delete()
    assert await world.erase() == []
    assert len(world.blobs.kept) == 1

    await world.delete("b.txt")
    assert len(await world.erase()) == 1
    assert world.blobs.kept == {}


async def test_who_may_not_read_it_is_told_that_there_is_none(world) -> None:
    """As of a document that never was."""
    await world.submit(allow=("staff",), principals=("staff",))
    with pytest.raises(Refused) as refused:
        await world.erase("a.txt", "everyone")
    assert refused.value.reason == Reason.UNKNOWN_DOCUMENT
    with pytest.raises(Refused) as refused:
        await world.erase("none.txt")
    assert refused.value.reason == Reason.UNKNOWN_DOCUMENT


async def test_a_document_that_never_could_be_read_can_be_erased(world) -> None:
    """Its bytes were stored before they were found to be unreadable."""
    world.parser.error = ParsingError(Reason.UNREADABLE, "no text in it")
    await world.submit(b"broken")
    await world.digest_all()

    assert len(await world.erase()) == 1
    assert world.blobs.kept == {}
