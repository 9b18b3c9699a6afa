"""What embed keeps of the vectors that it made: it does not start on others of the same model unless it is told to."""

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import headrace_embed.migrations
import pytest
from headrace_embed.adapters.vector_spaces import METADATA, VectorSpaces
from headrace_embed.domain import VectorSpace
from headrace_runtime import CannotStart
from sqlalchemy import MetaData, text

FIRST = VectorSpace("small", "a" * 64, "fp32", 384)
OTHERS = [replace(FIRST, variant="w8a8"), replace(FIRST, sha256="b" * 64), replace(FIRST, sha256="c" * 64, dims=64)]


@pytest.fixture(params=["sqlite", "postgresql"])
def starting(request, databases):
    """Return what a start does, on one database."""

    async def start(space: VectorSpace, permitted: str = "") -> None:
        await VectorSpaces(await databases.open(request.param, METADATA)).enter(space, permitted=permitted)

    return start


async def test_the_same_vectors_are_welcome_at_every_start(starting):
    """The first start decides."""
    for _ in range(3):
        await starting(FIRST)


@pytest.mark.parametrize("other", OTHERS)
async def test_other_vectors_of_the_same_model_are_refused(starting, other):
    """The text names both, the way back and the way over, for all replicas; the old ones stay in force."""
    await starting(FIRST)
    with pytest.raises(CannotStart) as refused:
        await starting(other)
    said = str(refused.value)
    assert FIRST.label in said
    assert f"HEADRACE_EMBED__NEW_VECTOR_SPACE={other.label}" in said
    assert "stop all replicas" in said
    assert "ingest all documents again" in said
    assert ("HEADRACE_EMBED__VARIANT=fp32" in said) == (other.sha256 == FIRST.sha256)
    assert ("the release of Headrace that imported them" in said) == (other.sha256 != FIRST.sha256)
    await starting(FIRST)


async def test_vectors_of_a_gpu_are_made_again_on_a_gpu(starting):
    """A variant alone would not bring them back: without the device a start takes the CPU's again."""
    await starting(replace(FIRST, variant="fp16"))
    with pytest.raises(CannotStart, match="where there is a GPU, with HEADRACE_EMBED__DEVICE=cuda"):
        await starting(FIRST)


async def test_those_that_were_named_are_permitted_and_no_others(starting):
    """A setting that is left where it is permits nothing more, neither the next change nor the way back."""
    await starting(FIRST)
    new, other = OTHERS[:2]
    with pytest.raises(CannotStart):
        await starting(new, permitted=other.label)
    await starting(new, permitted=new.label)
    await starting(new)
    for refused in (FIRST, other):
        with pytest.raises(CannotStart, match=new.label):
            await starting(refused, permitted=new.label)


async def test_models_of_another_name_have_vectors_of_their_own(starting, capfd):
    """To name another model is to ask for it; the log says what becomes of the documents, each time it differs."""
    large = replace(OTHERS[0], model="large")
    await starting(FIRST)
    for space, last in [(large, "small"), (large, ""), (FIRST, "large"), (FIRST, ""), (large, "small")]:
        await starting(space)
        said = "".join(capfd.readouterr())
        assert ("model.another" in said) == bool(last)
        assert f"{last} was served last" in said or not last


@pytest.mark.parametrize("used", [True, False])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_database_that_served_before_spaces_were_kept_says_what_is_assumed(
    databases, tmp_path, kind, used, capfd
):
    """Nobody knows which vectors its documents have; said once. One that never served has nothing to say."""
    revisions, metadata = Path(headrace_embed.migrations.__file__).parent, MetaData()
    older = tmp_path / "older"
    older.mkdir()
    for name in ("r0001_first.py", "r0002_leases.py"):
        shutil.copyfile(revisions / name, older / name)
    database = await databases.open(kind, metadata, migrations=older)
    if used:
        async with database.write() as connection:
            columns = "chain, topic, key, headers, value, created_at_ms"
            await connection.execute(text(f"INSERT INTO outbox ({columns}) VALUES (0, 't', '', '', '', 1)"))  # noqa: S608
            await connection.execute(text("DELETE FROM outbox"))  # as when everything was told and pruned
    told = []
    for _ in range(2):
        spaces = VectorSpaces(await databases.open(kind, metadata, migrations=revisions))
        await spaces.enter(FIRST, permitted="")
        told.append("model.space_first_kept" in "".join(capfd.readouterr()))
    assert told == [used, False]
    with pytest.raises(CannotStart):
        await spaces.enter(OTHERS[0], permitted="")


async def test_of_replicas_that_start_at_once_all_make_the_same_vectors(starting):
    """Whoever comes first decides, and those that differ do not start."""
    ended = await asyncio.gather(*(starting(one) for one in [FIRST, OTHERS[0]] * 2), return_exceptions=True)
    assert sorted(type(one).__name__ for one in ended) == ["CannotStart", "CannotStart", "NoneType", "NoneType"]
