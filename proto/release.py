"""Keeps the contracts as they were released, and refuses changes that break their readers: `make release-contracts`.

A release is a folder under proto/released/: the messages as a buf image, and the topics. It stands in the repository,
so that a clone can compare without a network and without tags. What breaks messages is buf's to say (category FILE in
buf.yaml); what breaks topics is said here.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

PROTO = Path(__file__).parent
RELEASED = PROTO / "released"
CONTRACTS = PROTO.parent / "libs" / "contracts" / "pyproject.toml"
IMAGE, TOPICS = "messages.binpb", "topics.yaml"
# Readers and producers rely on these; another number of partitions would tear a key's order.
PROMISED = ("message", "key", "encoding", "json_names", "cleanup", "partitions")


def main() -> None:
    """Cut a release of libs/contracts' version, or with `--check` compare with the newest; exits 1 on what breaks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the newest release")
    if parser.parse_args().check:
        check(newest())
    else:
        cut(tomllib.loads(CONTRACTS.read_text(encoding="utf-8"))["project"]["version"])


def cut(version: str) -> None:
    """Keep the contracts as released; a version is released once."""
    folder = RELEASED / version
    if folder.exists():
        sys.exit(f"contracts {version} are released: raise the version in libs/contracts/pyproject.toml")
    folder.mkdir(parents=True)
    _buf("build", "--exclude-source-info", "-o", str(folder / IMAGE))
    shutil.copy(PROTO / TOPICS, folder / TOPICS)


def check(release: Path) -> None:
    """Exit 1 and name everything that readers of `release` could not live with."""
    messages = _buf("breaking", "--against", str(release / IMAGE), fails=True)
    topics = [f"{TOPICS}: {one}" for one in broken_topics(_topics(release), _topics(PROTO))]
    if messages or topics:
        sys.exit("\n".join([f"breaks the contracts of {release.name}:", *messages, *topics]))


def newest() -> Path:
    """Return the folder of the newest release."""
    return max(RELEASED.iterdir(), key=lambda folder: tuple(map(int, folder.name.split("."))))


def broken_topics(released: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield what became of released topics that readers or producers would not survive."""
    for name, was in released.items():
        if name not in now:
            yield f"{name} is gone"
            continue
        for promise in PROMISED:
            if was[promise] != now[name][promise]:
                yield f"{name}: {promise} was {was[promise]}, is {now[name][promise]}"
        # The other way is free: who follows references reads whole payloads as well.
        if now[name]["claim_check"] and not was["claim_check"]:
            yield f"{name}: claim_check was false, is true: stock readers would find empty payloads"


def _topics(folder: Path) -> dict[str, Any]:
    declared = yaml.safe_load((folder / TOPICS).read_text(encoding="utf-8"))
    return {name: declared["defaults"] | entry for name, entry in declared["topics"].items()}


def _buf(*arguments: str, fails: bool = False) -> list[str]:
    """Run buf on proto/ and return its lines; a failure ends this program unless it is an answer (`fails`)."""
    command = [str(Path(sys.executable).parent / "buf"), *arguments]
    done = subprocess.run(command, cwd=PROTO, capture_output=True, text=True, check=False)
    if done.returncode and not (fails and done.stdout):
        sys.exit(done.stdout + done.stderr)
    return done.stdout.splitlines()


if __name__ == "__main__":
    main()
