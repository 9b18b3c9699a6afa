"""A run of `ingest` against a service that restarts, is full, and settles documents in its own order."""

from collections.abc import AsyncIterator, Sequence

import pytest
from headrace_cli.files import Found
from headrace_cli.ingesting import WATCHED_MAX, IngestRun
from headrace_client import DocumentStatus
from headrace_client.documents import DocumentState
from headrace_errors import DeadlineExceeded, Overloaded, Unavailable


def status(document: str, state: DocumentState, version: int = 1) -> DocumentStatus:
    return DocumentStatus(document, version, state, None, None, 1, 0, 1, {})


class FakeService:
    """Indexes a document when it is watched; `errors` come first, one a call."""

    def __init__(self, *errors: Exception, watches_break_after: int = 1 << 30) -> None:
        self._errors = list(errors)
        self._left = watches_break_after
        self.known: list[DocumentStatus] = []
        self.slept: list[float] = []
        self.now = 0.0

    async def submit(self, document: str, content: bytes, *, allow: Sequence[str] = ()) -> DocumentStatus:
        del content, allow
        if self._errors:
            raise self._errors.pop(0)
        return status(document, "submitted")

    async def watch(self, documents: Sequence[str], *, timeout_s: float) -> AsyncIterator[DocumentStatus]:
        assert len(documents) <= WATCHED_MAX
        assert timeout_s > 0
        for document in documents:
            if self._left == 0:
                self._left = 5
                raise Unavailable("killed")
            self._left -= 1
            yield status(document, "chunked")
            yield status(document, "indexed")

    async def documents(self, prefix: str = "") -> AsyncIterator[DocumentStatus]:
        del prefix
        for one in self.known:
            yield one

    async def delete(self, document: str) -> DocumentStatus:
        return status(document, "deleted")

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def run(self, timeout_s: float = 60) -> IngestRun:
        return IngestRun(self, wait=True, timeout_s=timeout_s, clock=lambda: self.now, sleep=self.sleep)


@pytest.fixture
def files(tmp_path) -> list[Found]:
    (tmp_path / "one.txt").write_text("text")
    return [Found(tmp_path / "one.txt", "one.txt")]


async def test_more_documents_than_one_watch_takes_are_all_waited_for():
    """What settled before anybody watched it is told when it is watched."""
    submitted = [status(f"{number}.txt", "submitted") for number in range(2 * WATCHED_MAX + 1)]
    settled = await FakeService().run().settle(submitted, lambda: None)
    assert [(one.document, one.state) for one in settled] == [(one.document, "indexed") for one in submitted]


async def test_a_watch_that_breaks_is_taken_up_for_what_is_still_open():
    """A service that restarts while a run waits costs the run nothing but time."""
    submitted = [status(f"{number}.txt", "submitted") for number in range(20)]
    advanced: list[int] = []
    settled = await FakeService(watches_break_after=3).run().settle(submitted, lambda: advanced.append(1))
    assert {one.state for one in settled} == {"indexed"}
    assert len(advanced) == 20


async def test_a_version_older_than_the_submitted_one_does_not_count():
    """The standing of an earlier version is not the answer that the run waits for."""
    service = FakeService()
    with pytest.raises(DeadlineExceeded):
        await service.run(timeout_s=3).settle([status("one.txt", "submitted", version=2)], lambda: None)


async def test_pruning_forgets_what_is_gone_in_whatever_state_it_is():
    """A version that failed may stand before an indexed one, which is searchable still."""
    service = FakeService()
    service.known = [
        status("kept.txt", "indexed"),
        status("gone.txt", "indexed"),
        status("failed.txt", "failed", version=2),
        status("under-way.txt", "chunked"),
        status("deleted.txt", "deleted"),
    ]
    pruned = await service.run().prune({"kept.txt"})
    assert [one.document for one in pruned] == ["gone.txt", "failed.txt", "under-way.txt"]


async def test_a_submission_waits_for_a_service_that_is_away_or_full(files):
    """As long as the service says to wait; then the file is submitted again."""
    service = FakeService(Unavailable("killed"), Overloaded("full", retry_after_s=2.0))
    (submitted,) = await service.run().submit_all(files, ())
    assert submitted.state == "indexed"
    assert service.slept == [0.5, 2.0]


async def test_a_service_that_stays_away_fails_the_file_when_the_time_is_over(files):
    """The run's own time bounds the wait."""
    service = FakeService(*[Unavailable("gone")] * 100)
    (submitted,) = await service.run(timeout_s=3).submit_all(files, ())
    assert (submitted.state, submitted.reason) == ("failed", "expired")
