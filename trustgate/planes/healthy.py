"""`trustgate healthy`: whether the planes that listen on this machine answer, for container runtimes."""

import http.client
from typing import Final

from trustgate.settings import Ports

WITHIN: Final = 2.0


def ailing(ports: Ports) -> str:
    """Return what is wrong, empty where nothing is: one plane at least answers, and none that listens does not."""
    host = "127.0.0.1" if ports.host in ("0.0.0.0", "::") else ports.host  # noqa: S104 - compared, not bound
    found = {name: _status(host, getattr(ports, name)) for name in ("admin", "proxy", "mcp")}
    ill = [f"the {name} plane answers {status}" for name, status in found.items() if status not in (None, 200)]
    if not any(status == 200 for status in found.values()):
        ill.append("no plane answers")
    return "; ".join(ill)


def _status(host: str, port: int) -> int | None:
    """Return what /healthz answers; None where nobody listens, 0 where somebody does and says nothing."""
    connection = http.client.HTTPConnection(host, port, timeout=WITHIN)
    try:
        connection.connect()
    except OSError:
        return None
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
