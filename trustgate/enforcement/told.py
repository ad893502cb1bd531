"""What callers are told in headers: of two limits the tighter one."""

from collections.abc import Sequence

from trustgate.contract.upstream import Header
from trustgate.contract.verdict import Quota


def add_quota(quotas: list[Quota], quota: Quota) -> None:
    """Add how one limit stands to how those before it do. Of two under the same names the tighter one stays."""
    for at, other in enumerate(quotas):
        if other.names == quota.names:
            if quota.remaining < other.remaining:
                quotas[at] = quota
            return
    quotas.append(quota)


def write_quotas(headers: list[Header], quotas: Sequence[Quota]) -> Sequence[Header]:
    """Return the headers with the quotas written out behind them."""
    for quota in quotas:
        add_headers(headers, quota.headers())
    return headers


def add_headers(headers: list[Header], more: Sequence[Header]) -> None:
    """Add a policy's headers to those of the policies before it. Of two limits the caller is told the tighter one."""
    if not headers:
        headers += more
        return
    names = {name for name, _ in more}
    same = [header for header in headers if header[0] in names]
    if not same:
        headers += more
        return
    left = _left(same)
    if left is None:
        headers += [header for header in more if header not in same]
        return
    mine = _left(more)
    if mine is not None and mine < left:
        headers[:] = [*[header for header in headers if header[0] not in names], *more]


def _left(headers: Sequence[Header]) -> float | None:
    """Return what headers say is left of a limit, if they speak of one."""
    for name, value in headers:
        if name.find(b"-remaining") >= 0:  # `in` first makes an exception, to see that it is no number
            try:
                return float(value)
            except ValueError:
                return None
    return None
