"""Which vectors this service has made, by model: it does not start on others, so that stored documents stay findable.

retrieve compares vectors of one space only, and says nothing where it has none: a platform that was restarted with
another variant would find its documents by words alone. What retrieve compares is told to it with each vector; here is
kept only what the service served last.
"""

from headrace_runtime import CannotStart
from headrace_storage import Database
from headrace_storage.inserting import insert_new
from headrace_telemetry import get_logger
from sqlalchemy import Column, Integer, MetaData, String, Table, select, update

from headrace_embed.domain import VectorSpace

METADATA = MetaData()
VECTOR_SPACES = Table(
    "vector_spaces",
    METADATA,
    Column("model", String(100), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("variant", String(100), nullable=False),
    Column("dims", Integer, nullable=False),
)
_KEY = "vector-spaces"
_log = get_logger()


class VectorSpaces:
    """The spaces that were served, in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def enter(self, space: VectorSpace, *, permitted: str) -> None:
        """Keep the model's space at its first start; later, raise CannotStart in another one.

        But for the one that `permitted` names: it is kept in place of the old one.
        """
        async with self._database.write(_KEY) as connection:
            rows = (await connection.execute(select(VECTOR_SPACES))).all()
            kept = {row.model: VectorSpace(row.model, row.sha256, row.variant, row.dims) for row in rows}
            before = kept.get(space.model)
            if before is None:
                await insert_new(
                    connection,
                    VECTOR_SPACES,
                    {"model": space.model, "sha256": space.sha256, "variant": space.variant, "dims": space.dims},
                )
            elif before != space:
                if space.label != permitted:
                    raise CannotStart(_refusal(before, space))
                changed = {"sha256": space.sha256, "variant": space.variant, "dims": space.dims}
                await connection.execute(
                    update(VECTOR_SPACES).where(VECTOR_SPACES.c.model == space.model).values(changed)
                )
        if before is None and kept:
            detail = f"documents were embedded by {', '.join(sorted(kept))}: ingest them again to find them by meaning"
            _log.warning("model.another", model=space.model, detail=detail)
        elif before not in {None, space}:
            _log.warning("model.vector_space_changed", model=space.model, detail="documents have to be ingested again")


def _refusal(before: VectorSpace, now: VectorSpace) -> str:
    back = (
        f"set HEADRACE_EMBED__VARIANT={before.variant}"
        if before.sha256 == now.sha256
        else "give back the manifest and the files that it had"
    )
    return (
        f"{now.model} has embedded documents as {before.label} ({before.dims} numbers), and would now be {now.label} "
        f"({now.dims} numbers): they would no longer be found by meaning. To go on with them, {back}; to go over, set "
        f"HEADRACE_EMBED__NEW_VECTOR_SPACE={now.label} and ingest all documents again"
    )
