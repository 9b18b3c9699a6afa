"""The faults, a file a theme; here is the list of all of them."""

from chaos.faults import brokers, embedded_bus, loads, messages, processes, stores
from chaos.stage import Fault

_THEMES = (processes, brokers, stores, messages, loads, embedded_bus)
FAULTS: tuple[Fault, ...] = tuple(
    sorted((fault for theme in _THEMES for fault in theme.FAULTS), key=lambda fault: fault.row)
)
