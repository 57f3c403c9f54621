"""Where a request goes. Asked anew for each request, because a local server may have moved."""

from __future__ import annotations

import attrs

__all__ = ["Endpoint"]


@attrs.frozen(slots=True)
class Endpoint:
    """One place that speaks a provider's wire format.

    Attributes:
        base_url: Scheme, host, port and path prefix; without a trailing slash.
        api_key: Sent in the ``Authorization`` header and nowhere else; never in a repr.
    """

    base_url: str
    api_key: str | None = attrs.field(default=None, repr=False)
