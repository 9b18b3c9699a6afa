"""Check that an event stands in a signed audit chain: `python verify_inclusion.py PROOF.json PUBLIC_KEY`.

The first is what `headrace audit prove EVENT` prints, the second what `headrace audit key` does, got by another way.
No code of Headrace's; one package, `cryptography`. Trees after RFC 6962, notes after C2SP.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

proof, key = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), sys.argv[2]
node, index, last = hashlib.sha256(b"\0" + proof["record_json"].encode()).digest(), proof["index"], proof["size"] - 1
path = [bytes.fromhex(one) for one in proof["path"]]
while last:
    if index % 2 or index < last:  # the last of an odd number has no sibling
        node = hashlib.sha256(b"\1" + (path.pop(0) + node if index % 2 else node + path.pop(0))).digest()
    index, last = index // 2, last // 2
text, _, signature = proof["checkpoint"].rpartition("\n\n")
public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.split("+", 2)[2])[1:])
public.verify(base64.b64decode(signature.split()[2])[4:], (text + "\n").encode())  # raises InvalidSignature
origin, size, root = text.split("\n")[:3]
metadata = json.loads(proof["record_json"])["metadata"]
said = (f"headrace-audit/{metadata['log_name']}", metadata["sequence"], base64.b64encode(node).decode())
if path or (origin, proof["index"] + 1, root) != said or int(size) != proof["size"]:
    sys.exit("the record is not where the proof says that it is")
print(f"{metadata['uid']} is record {metadata['sequence']} of the {size} in {origin}")
