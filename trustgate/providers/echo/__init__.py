"""A provider without a network: it answers like an OpenAI chat model, at a chosen pace, and fails as it is told to.

`asked` reads a request, `chat` answers it, `instances` fills schemas, `faults` refuses; `transport` is the only part
that waits.
"""

from trustgate.providers.echo.transport import OPTIONS_HEADER, EchoTransport, options_header

__all__ = ["OPTIONS_HEADER", "EchoTransport", "options_header"]
