"""Generates the Python stubs of libs/contracts from proto/: `make proto`, or `--check` for drift.

It leaves linting and breaking changes to buf.
"""

import argparse
import filecmp
import importlib.resources
import os
import shutil
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

PROTO = Path(__file__).parent
STUBS = PROTO.parent / "libs" / "contracts" / "src"


def generate(out: Path) -> None:
    """Write stubs, their types and the gRPC stubs of every .proto file under `out`, and the topic list as data."""
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.glob("headrace/*/v*/*.proto"))
    # protoc finds its plugins on PATH; ours stand beside this interpreter.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    options = [f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    status = protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", *options, *sources])
    if status:
        sys.exit(f"protoc failed with status {status}")
    shutil.copy(PROTO / "topics.yaml", out / "headrace" / "topics.yaml")


def generated(root: Path) -> list[Path]:
    """List what `generate` writes under `root`, relative to it."""
    return sorted(path.relative_to(root) for path in [*root.glob("headrace/*/v*/*.py*"), *root.glob("headrace/*.yaml")])


def main() -> None:
    """Regenerate in place, or say what drifted and exit 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 on drift")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        (fresh / "headrace").mkdir()
        generate(fresh)
        if not arguments.check:
            for folder in STUBS.glob("headrace/*/v*"):
                shutil.rmtree(folder)
            shutil.copytree(fresh, STUBS, dirs_exist_ok=True)
            return
        names = set(generated(fresh)) | set(generated(STUBS))
        drifted = [name for name in names if not _same(fresh / name, STUBS / name)]
    if drifted:
        sys.exit("stubs differ from proto/ (run `make proto`): " + ", ".join(map(str, sorted(drifted))))


def _same(left: Path, right: Path) -> bool:
    return left.exists() and right.exists() and filecmp.cmp(left, right, shallow=False)


if __name__ == "__main__":
    main()
