"""The official SDKs as callers, at their strictest."""

import ssl
from typing import Final

PLAIN: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients that speak no TLS here: without it each reads all certificates anew, which takes longer than its test."""
