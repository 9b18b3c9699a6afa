"""Which vectors this service has made, by model: it does not start on others, so that stored documents stay findable.

retrieve compares vectors of one space only, and says nothing where it has none: a platform that was restarted with
another variant would find its documents by words alone. What retrieve compares is told to it with each vector; here is
kept only what the service served last, of each model and of all.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from headrace_inference.onnx_encoder import GPU_VARIANTS
from headrace_runtime import CannotStart
from headrace_storage import Database
from headrace_telemetry import get_logger
from sqlalchemy import BigInteger, Column, Integer, MetaData, Row, String, Table, delete, insert, select

from headrace_embed.domain import VectorSpace

METADATA = MetaData()
VECTOR_SPACES = Table(
    "vector_spaces",
    METADATA,
    Column("model", String(100), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("variant", String(100), nullable=False),
    Column("dims", Integer, nullable=False),
    Column("turn", BigInteger, nullable=False),  # grows with each model that takes over: the last one has the greatest
)
UNKNOWN = ""
"""Stands for the model that was served before spaces were kept; it goes at the first entry."""
_KEY = "vector-spaces"
_log = get_logger()


class VectorSpaces:
    """The spaces that were served, in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def enter(self, space: VectorSpace, *, permitted: str) -> None:
        """Keep the model's space at its first start; later, raise CannotStart in another one.

        But for the one that `permitted` names: it is kept in place of the old one. A warning is logged where documents
        may not be found by meaning: another model was served last, the space was changed, or nobody knows what was.
        """
        async with self._database.write(_KEY) as connection:
            rows = (await connection.execute(select(VECTOR_SPACES).order_by(VECTOR_SPACES.c.turn))).all()
            before, last = _spaces(rows).get(space.model), rows[-1] if rows else None
            if before not in {None, space} and space.label != permitted:
                raise CannotStart(_refusal(before, space))
            if before != space or last is None or last.model != space.model:
                await connection.execute(delete(VECTOR_SPACES).where(VECTOR_SPACES.c.model.in_([space.model, UNKNOWN])))
                await connection.execute(insert(VECTOR_SPACES).values(_row(space, turn=last.turn + 1 if last else 1)))
        _warn(space, before, last.model if last else space.model)


def _spaces(rows: Sequence[Row[Any]]) -> Mapping[str, VectorSpace]:
    return {row.model: VectorSpace(row.model, row.sha256, row.variant, row.dims) for row in rows}


def _row(space: VectorSpace, *, turn: int) -> Mapping[str, object]:
    return {
        "model": space.model,
        "sha256": space.sha256,
        "variant": space.variant,
        "dims": space.dims,
        "turn": turn,
    }


def _warn(space: VectorSpace, before: VectorSpace | None, last: str) -> None:
    if before not in {None, space}:
        _log.warning("model.vector_space_changed", model=space.model, detail="documents have to be ingested again")
    if last == UNKNOWN:
        detail = (
            f"texts were embedded before it was kept how; it is assumed that they were as {space.label}. Documents of "
            "another model, variant or prefix have to be ingested again to be found by meaning"
        )
        _log.warning("model.space_first_kept", model=space.model, detail=detail)
    elif last != space.model:
        detail = f"{last} was served last: what it embedded has to be ingested again to be found by meaning"
        _log.warning("model.another", model=space.model, detail=detail)


def _refusal(before: VectorSpace, now: VectorSpace) -> str:
    return (
        f"{now.model} has embedded documents as {before.label} ({before.dims} numbers), and would now be {now.label} "
        f"({now.dims} numbers): they would no longer be found by meaning. To go on with them, {_back(before, now)}; to "
        f"go over, stop all replicas, set HEADRACE_EMBED__NEW_VECTOR_SPACE={now.label} for each, start them and ingest "
        "all documents again"
    )


def _back(before: VectorSpace, now: VectorSpace) -> str:
    """Say what makes the old vectors again."""
    if before.sha256 != now.sha256:
        return "give back the manifest and the files that it had, or the release of Headrace that imported them"
    if before.variant in GPU_VARIANTS:
        on = f"HEADRACE_EMBED__DEVICE=cuda and HEADRACE_EMBED__VARIANT={before.variant}"
        return f"start it where there is a GPU, with {on}"
    return f"set HEADRACE_EMBED__VARIANT={before.variant}"
