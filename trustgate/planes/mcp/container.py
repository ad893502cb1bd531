"""How the MCP plane is put together."""

from dependency_injector import providers

from trustgate.planes.ground import Ground
from trustgate.planes.mcp.app import McpApp
from trustgate.planes.probes import probe_app


class Mcp(Ground):
    """The ground, with the MCP plane's app on it."""

    mcp_app = providers.Singleton(McpApp, Ground.gate, providers.Singleton(probe_app, Ground.probes))
