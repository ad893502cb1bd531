"""The MCP plane's door. It answers its probes; any other path is a JSON 404."""

from starlette.types import ASGIApp

from trustgate.planes.probes import Probes, probe_app


def mcp_app(probes: Probes) -> ASGIApp:
    """Return the plane's app."""
    return probe_app(probes)
