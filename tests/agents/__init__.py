"""The MCP plane: real servers behind it, real clients before it."""
