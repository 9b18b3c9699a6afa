"""Erasing asks for one thing after the other, and tells what became of each."""

from headrace_cli.erasing import Erased, erase
from headrace_errors import Refused


class Platform:
    """A client whose platform refuses what is still in use."""

    async def erase_request(self, request_id):
        if request_id == "open":
            raise Refused("not yet", reason="request_open")

    async def erase_document(self, document):
        if document == "there.md":
            raise Refused("delete it first", reason="not_deleted")
        return ["ab" * 32]


async def test_what_is_refused_does_not_stop_the_rest():
    """Each with its reason, in the order in which they were named."""
    done = await erase(Platform(), requests=["open", "r1"], documents=["there.md", "gone.md"])

    assert done == [
        Erased("request", "open", refused="request_open"),
        Erased("request", "r1"),
        Erased("document", "there.md", refused="not_deleted"),
        Erased("document", "gone.md", content_sha256=["ab" * 32]),
    ]
    assert done[3].as_json() == {
        "kind": "document",
        "name": "gone.md",
        "refused": "",
        "content_sha256": ["ab" * 32],
    }
