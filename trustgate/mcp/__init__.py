"""MCP: many servers of the Model Context Protocol behind one address, one key and one set of policies.

`gate.py` answers one HTTP request. It passes JSON through, and looks only where it has to: at methods, names, ids.
"""
