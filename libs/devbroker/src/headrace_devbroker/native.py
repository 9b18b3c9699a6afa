"""The C functions of librdkafka's mock cluster, found inside the `confluent-kafka` wheel and typed for ctypes.

It knows where the wheel keeps its library and what the signatures are; what a cluster is belongs to cluster.py.
"""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from pathlib import Path

_PATTERNS = ("librdkafka*.so*", "librdkafka*.dylib")

_POINTER, _TEXT, _INT, _SIZE = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
_BROKER, _API = ctypes.c_int32, ctypes.c_int16

# Every function that cluster.py calls, what it returns and what it takes: rdkafka.h and rdkafka_mock.h of librdkafka 2.
_SIGNATURES: dict[str, tuple[type | None, tuple[type, ...]]] = {
    "rd_kafka_conf_new": (_POINTER, ()),
    "rd_kafka_conf_set": (_INT, (_POINTER, _TEXT, _TEXT, _TEXT, _SIZE)),
    "rd_kafka_new": (_POINTER, (_INT, _POINTER, _TEXT, _SIZE)),
    "rd_kafka_destroy": (None, (_POINTER,)),
    "rd_kafka_mock_cluster_new": (_POINTER, (_POINTER, _INT)),
    "rd_kafka_mock_cluster_destroy": (None, (_POINTER,)),
    "rd_kafka_mock_cluster_bootstraps": (_TEXT, (_POINTER,)),
    "rd_kafka_mock_topic_create": (_INT, (_POINTER, _TEXT, _INT, _INT)),
    "rd_kafka_mock_broker_set_down": (_INT, (_POINTER, _BROKER)),
    "rd_kafka_mock_broker_set_up": (_INT, (_POINTER, _BROKER)),
    "rd_kafka_mock_broker_set_rtt": (_INT, (_POINTER, _BROKER, _INT)),
    "rd_kafka_mock_push_request_errors_array": (None, (_POINTER, _API, _SIZE, ctypes.POINTER(_INT))),
    "rd_kafka_mock_clear_request_errors": (None, (_POINTER, _API)),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, (_POINTER, _BROKER)),
}


class NativeLibraryMissing(RuntimeError):
    """The installed `confluent-kafka` does not carry the library that the embedded bus needs."""


@cache
def library() -> ctypes.CDLL:
    """Load librdkafka out of the wheel; NativeLibraryMissing says what was looked for and where."""
    path = _find()
    loaded = ctypes.CDLL(str(path))
    for name, (returns, takes) in _SIGNATURES.items():
        try:
            function = getattr(loaded, name)
        except AttributeError:
            raise NativeLibraryMissing(f"{path} does not export {name}: install confluent-kafka>=2.11") from None
        function.restype, function.argtypes = returns, takes
    return loaded


def _find() -> Path:
    # The module itself is not imported: only the library beside it is needed.
    module = importlib.util.find_spec("confluent_kafka")
    if module is None or module.origin is None:
        raise NativeLibraryMissing(
            "the embedded bus needs the confluent-kafka wheel: pip install 'confluent-kafka>=2.11'"
        )
    package = Path(module.origin).parent
    # auditwheel puts a Linux wheel's libraries beside the package, delocate a macOS wheel's inside it.
    folders = (package.parent / "confluent_kafka.libs", package / ".dylibs", package)
    for folder in folders:
        for pattern in _PATTERNS:
            found = sorted(folder.glob(pattern))
            if found:
                return found[0]
    looked = ", ".join(str(folder) for folder in folders)
    raise NativeLibraryMissing(
        f"no {' or '.join(_PATTERNS)} in {looked}: confluent-kafka was built from source; install its binary wheel"
    )
