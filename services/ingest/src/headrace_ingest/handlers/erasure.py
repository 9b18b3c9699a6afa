"""Erasure: what was stored of a document that is deleted is gone, and that it is gone stands in the audit record.

The record itself keeps hashes, so its chains stay whole. Topics keep what they hold until their retention.
"""

from collections.abc import Sequence
from dataclasses import replace

from headrace_errors import Refused

from headrace_ingest.domain.documents import Cause, DocumentVersion, State, standing
from headrace_ingest.domain.facts import Decided
from headrace_ingest.domain.names import shown_name
from headrace_ingest.domain.parsed import Reason
from headrace_ingest.ports import Blobs, Change, Registry

_ERASURE = "erasure"  # in the place of an event's id: erased again, it is the same decision


ERASED_TOGETHER_MAX = 100
"""Contents a transaction: while they are erased, nobody else changes the document, and on SQLite no other either."""


async def erase(
    tenant: str,
    document: str,
    principals: Sequence[str],
    *,
    registry: Registry,
    blobs: Blobs,
    together_max: int = ERASED_TOGETHER_MAX,
) -> Sequence[str]:
    """Erase the files and texts of all versions of a deleted document; return their sha256.

    What another document still holds stays. Killed in between, the next call finishes it. Raises Refused
    (`unknown_document`) for what somebody with these principals may not read, and (`not_deleted`) for a document that
    a search may still find, also where it is submitted again meanwhile: what is erased by then is recorded.
    """
    erased: list[str] = []
    after = ""
    while True:
        async with registry.change(tenant, document) as change:
            current = await _deleted(change, document, principals)
            contents = await change.contents()
            some = sorted(sha256 for sha256 in contents if sha256 > after)[:together_max]
            held = set(await change.held_elsewhere(some))
            for sha256 in (one for one in some if one not in held):
                await blobs.erase(tenant, sha256)  # before the record of it: what stands there is true
                cause = Cause(_ERASURE, "", principals[0])
                version = replace(current, version=contents[sha256], content_sha256=sha256, cause=cause, attempt=1)
                await change.announce(Decided("document.erased", version, of=sha256))
        erased += [sha256 for sha256 in some if sha256 not in held]
        if len(some) < together_max:
            return erased
        after = some[-1]


async def _deleted(change: Change, document: str, principals: Sequence[str]) -> DocumentVersion:
    versions = await change.versions()
    current = standing(versions) or next(iter(versions), None)
    if current is None or not current.readable_by(principals):
        raise Refused(f"no document {shown_name(document)}", reason=Reason.UNKNOWN_DOCUMENT)
    if current.state not in {State.DELETED, State.FAILED}:
        raise Refused(f"{shown_name(document)} is not deleted: delete it first", reason=Reason.NOT_DELETED)
    return current
