"""Public MCP servers, for whoever looks for one: `servers.json` has them, `entries` reads it, `verifying` asks each
whether it is there."""
