"""The faults, a file a theme; here is the list of all of them."""

from chaos.faults import processes
from chaos.stage import Fault

FAULTS: tuple[Fault, ...] = tuple(sorted(processes.FAULTS, key=lambda fault: fault.row))
