"""The official SDKs as callers, at their strictest."""
