"""What a submission must satisfy before its bytes are looked at: a declared tenant, a sound name, a format, readers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from headrace_ingest.domain.documents import EVERYONE
from headrace_ingest.domain.formats import Format, find_format
from headrace_ingest.domain.names import check_name
from headrace_ingest.domain.parsed import ParsingError, Reason

ALLOW_MAX = 64
_PRINCIPAL_CHARS_MAX = 200


class Tenancy(Protocol):
    """The declared tenants."""

    def declared(self, tenant: str) -> bool:
        """Tell whether there is such a tenant."""
        ...

    def principals_of(self, tenant: str, auth_id: str) -> tuple[str, ...] | None:
        """Return what somebody of a tenant may act as, their own name first; None when they may not act at all."""
        ...

    def knows(self, tenant: str, principal: str) -> bool:
        """Tell whether somebody of a declared tenant can hold a principal."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """What a producer says of a document, as it says it; `principals` is what the producer may act as."""

    tenant: str
    document: str
    media_type: str = ""
    allow: tuple[str, ...] = ()
    principals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """How large a file may be, and how many versions may be under way before submissions have to wait."""

    file_bytes_max: int = 50 * 1024 * 1024
    open_max: int = 10_000


def admit(request: Request, *, tenancy: Tenancy, formats: Sequence[Format]) -> tuple[str, ...]:
    """Return the principals that may read the document: those named, or everyone.

    Raises ParsingError: UNKNOWN_TENANT, BAD_NAME, UNSUPPORTED_TYPE, INVALID_REQUEST or UNKNOWN_PRINCIPAL. A name that
    nobody can hold is refused, not kept: a document that nobody finds looks like one that was lost.
    """
    check_tenant(request.tenant, tenancy)
    check_name(request.document)
    find_format(formats, request.document, request.media_type)
    if len(request.allow) > ALLOW_MAX:
        raise ParsingError(Reason.INVALID_REQUEST, f"more than {ALLOW_MAX} principals")
    for principal in request.allow:
        if not principal.isprintable() or not 0 < len(principal) <= _PRINCIPAL_CHARS_MAX:
            raise ParsingError(Reason.INVALID_REQUEST, "a principal is empty, too long or not printable")
        if principal != EVERYONE and not tenancy.knows(request.tenant, principal):
            raise ParsingError(Reason.UNKNOWN_PRINCIPAL, f"the tenant has no principal {principal}")
    return tuple(sorted(set(request.allow))) or (EVERYONE,)


def actor(tenant: str, auth_id: str, tenancy: Tenancy) -> tuple[str, ...]:
    """Return what an event's producer acts as. Raises ParsingError: UNKNOWN_TENANT or UNKNOWN_PRINCIPAL."""
    check_tenant(tenant, tenancy)
    principals = tenancy.principals_of(tenant, auth_id)
    if principals is None:
        raise ParsingError(Reason.UNKNOWN_PRINCIPAL, "nobody of that name may hand in documents of the tenant")
    return principals


def check_size(size_bytes: int, limits: IntakeLimits) -> None:
    """Raise ParsingError(TOO_LARGE) naming the limit."""
    if size_bytes > limits.file_bytes_max:
        raise ParsingError(Reason.TOO_LARGE, f"the file is larger than {limits.file_bytes_max} bytes")


def check_tenant(tenant: str, tenancy: Tenancy) -> None:
    """Raise ParsingError(UNKNOWN_TENANT) unless the tenant is declared."""
    if not tenancy.declared(tenant):
        raise ParsingError(Reason.UNKNOWN_TENANT, "the tenant is not declared")
