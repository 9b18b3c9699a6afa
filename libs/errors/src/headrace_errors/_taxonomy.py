"""The exceptions, named after what the engine does with them."""


class HeadraceError(Exception):
    """An expected failure.

    `reason` is a stable snake_case code that reaches outcomes and metrics; `detail` is for people and never holds
    prompt or document text.
    """

    default_reason = "error"

    def __init__(self, detail: str, *, reason: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason or self.default_reason


class InvalidMessage(HeadraceError):
    """The message cannot be read or understood."""

    default_reason = "invalid_request"


class Refused(HeadraceError):
    """Policy, rails or missing evidence say no."""

    default_reason = "refused"


class QuotaExceeded(Refused):
    """A budget or quota says no."""

    default_reason = "budget_exceeded"


class Overloaded(HeadraceError):
    """No permit is free now and nothing was done; `retry_after_s` says when to try again, in seconds."""

    default_reason = "overloaded"

    def __init__(self, detail: str, *, reason: str | None = None, retry_after_s: float = 0.5) -> None:
        super().__init__(detail, reason=reason)
        self.retry_after_s = retry_after_s


class Unavailable(HeadraceError):
    """Something that is needed does not answer."""

    default_reason = "unavailable"


class DeadlineExceeded(HeadraceError):
    """The time is up."""

    default_reason = "expired"


class PeerBug(Exception):
    """A bug in another service, or a call that it does not have: for the caller a bug as well, outside of the taxonomy.

    Asking again would meet it again. `detail` names the peer and never holds content.
    """

    reason = "bug"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
