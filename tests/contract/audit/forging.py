"""What the tests of exports share: keys, how an export is written and judged, and how somebody changes one."""

import json
from datetime import UTC, datetime

from headrace_audit.domain import fingerprint
from headrace_audit.exporting import Export
from headrace_audit.notes import SigningKey
from headrace_audit.verify import verify_export

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEY, STRANGER = SigningKey(bytes(32)), SigningKey(b"\1" * 32)  # the first is the fixtures' own


def written(contents, out, key=KEY):
    """Return the writer of an export."""
    return Export(contents, out, key=key, made_at=NOON)


def first_broken(path, *keys, **options):
    """Return the flaw of the whole, or chain and sequence of what is broken first; None when all verifies."""
    report = verify_export(path, keys or [KEY.verifier], **options)
    assert report.signatures_checked
    assert report.verified == (not report.flaw and all(chain.verified for chain in report.chains))
    return report.flaw or next(((one.chain, one.broken_at) for one in report.chains if not one.verified), None)


def tampered(path, change):
    """Change an export, given as its header and its links; return it."""
    header, *links = map(json.loads, path.read_text().splitlines())
    changed = change(header, links)
    path.write_text("".join(json.dumps(line) + "\n" for line in changed))
    return path


def swap(links, one, other):
    """Let two links change their contents."""
    for name in ("record_id", "record_json", "fingerprint", "previous_fingerprint"):
        links[one][name], links[other][name] = links[other][name], links[one][name]


def following(link, **changes):
    """Forge a link that follows another as it should."""
    record = json.loads(link["record_json"])
    place = {"chain": link["chain"], "sequence": link["sequence"] + 1} | changes
    record["metadata"] |= {"log_name": place["chain"], "sequence": place["sequence"]}
    return sealed(link | place, record, "0" * 64 if place["sequence"] == 1 else link["fingerprint"])


def sealed(link, record, previous):
    """Put a record into a link as if it had always been there."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return link | {
        "record_json": text,
        "previous_fingerprint": previous,
        "fingerprint": fingerprint(previous, text.encode()),
    }


def rewritten(links, at):
    """Put another history in the place of the links of a chain from sequence `at` on, whole in itself."""
    history = links[: at - 1]
    for link in links[at - 1 :]:
        record = json.loads(link["record_json"])
        record["unmapped"] = {"facts": {"number": "another"}}
        history.append(sealed(link, record, history[-1]["fingerprint"] if history else "0" * 64))
    return history
