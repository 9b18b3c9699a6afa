"""Where the audit record is, and its verification without the service."""

from __future__ import annotations

import asyncio
from pathlib import Path

from headrace_audit.adapters.verify_postgres import verify_postgres
from headrace_audit.verification import VerifyReport
from headrace_audit.verify import verify_database
from headrace_runtime import Places


async def verify_record(data_dir: Path, database: str = "") -> VerifyReport:
    """Verify the record in `database`, a file or a URL; by default where the platform of `data_dir` keeps it."""
    place = database or _place(data_dir)
    if "://" in place:
        return await verify_postgres(place)
    return await asyncio.to_thread(_verify_file, Path(place))


def _verify_file(path: Path) -> VerifyReport:
    if not path.exists():
        raise FileNotFoundError(f"no audit database at {path}")
    return verify_database(path)


def _place(data_dir: Path) -> str:
    url = Places().sql.url
    return url.get_secret_value() if url else str(data_dir / "audit" / "state.db")
