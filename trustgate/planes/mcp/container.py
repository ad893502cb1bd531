"""How the MCP plane is put together."""

from dependency_injector import providers

from trustgate.planes.ground import Ground
from trustgate.planes.mcp.app import mcp_app


class Mcp(Ground):
    """The ground, with the MCP plane's app on it."""

    mcp_app = providers.Singleton(mcp_app, Ground.probes)
