"""Erasure: what was stored of a document that is deleted is gone, and that it is gone stands in the audit record.

The record itself keeps hashes, so its chains stay whole. Topics keep what they hold until their retention.
"""

from collections.abc import Sequence
from dataclasses import replace

from headrace_errors import Refused

from headrace_ingest.domain.documents import Cause, State, standing
from headrace_ingest.domain.facts import Decided
from headrace_ingest.domain.names import shown_name
from headrace_ingest.domain.parsed import Reason
from headrace_ingest.ports import Blobs, Registry

_ERASURE = "erasure"  # in the place of an event's id: erased again, it is the same decision


async def erase(
    tenant: str, document: str, principals: Sequence[str], *, registry: Registry, blobs: Blobs
) -> Sequence[str]:
    """Erase the files and texts of all versions of a deleted document; return their sha256.

    What another document still holds stays. Killed in between, the next call finishes it. Raises Refused
    (`unknown_document`) for what somebody with these principals may not read, and (`not_deleted`) for a document that
    a search may still find.
    """
    async with registry.change(tenant, document) as change:
        versions = await change.versions()
        current = standing(versions) or next(iter(versions), None)
        if current is None or not current.readable_by(principals):
            raise Refused(f"no document {shown_name(document)}", reason=Reason.UNKNOWN_DOCUMENT)
        if current.state not in {State.DELETED, State.FAILED}:
            raise Refused(f"{shown_name(document)} is not deleted: delete it first", reason=Reason.NOT_DELETED)
        contents = await change.contents()
        erased = sorted(contents.keys() - set(await change.held_elsewhere(contents.keys())))
        for sha256 in erased:
            await blobs.erase(tenant, sha256)  # before the record of it: what stands there is true
            cause = Cause(_ERASURE, "", principals[0])
            version = replace(current, version=contents[sha256], content_sha256=sha256, cause=cause, attempt=1)
            await change.announce(Decided("document.erased", version, of=sha256))
    return erased
