"""One suite for a folder and a real S3-compatible bucket: a checkpoint is created once and never changed."""

import asyncio

import obstore
import pytest
from headrace_audit.adapters.anchors import ObjectAnchor
from headrace_audit.ports import KeptCheckpoint
from headrace_errors import Unavailable

FOUR = KeptCheckpoint("audit-0", 4, "a checkpoint of four")


@pytest.fixture(params=["folder", "s3"])
def anchor(request, tmp_path):
    """Open an anchor."""
    if request.param == "folder":
        return ObjectAnchor.at(str(tmp_path / "anchor"), endpoint=None, region="", **credentials(None, None))
    blobs = request.getfixturevalue("native_s3")
    secrets = [one.get_secret_value() for one in (blobs.access_key_id, blobs.secret_access_key)]
    return ObjectAnchor.at(blobs.url, endpoint=blobs.endpoint, region=blobs.region, **credentials(*secrets))


def credentials(key, secret):
    """Return what opens a bucket."""
    return {"access_key_id": key, "secret_access_key": secret}


async def test_a_checkpoint_that_is_there_is_put_again_in_peace(anchor):
    """Killed between the anchor and the record, or by two replicas at once: the same bytes are the same checkpoint."""
    assert await asyncio.gather(*(anchor.put(FOUR) for _ in range(8))) == [True] * 8


async def test_another_checkpoint_in_its_place_is_refused(anchor):
    """What was anchored first stays."""
    await anchor.put(FOUR)
    assert not await anchor.put(KeptCheckpoint("audit-0", 4, "another history"))

    (kept,) = obstore.list(anchor._store).collect()
    assert kept["path"] == "audit-0/000000000004.note"
    found = await obstore.get_async(anchor._store, kept["path"])
    assert bytes(await found.bytes_async()).decode() == FOUR.note


async def test_an_anchor_that_does_not_answer_is_an_outage():
    """It is tried again later; the checkpoint stays kept."""
    nowhere = ObjectAnchor.at(
        "s3://anchors", endpoint="http://127.0.0.1:9", region="us-east-1", **credentials("key", "secret")
    )
    with pytest.raises(Unavailable, match="does not take a checkpoint"):
        await nowhere.put(FOUR)
