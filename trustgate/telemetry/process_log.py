"""Our own log lines, as JSON or text. The last thing before a line is written is that secrets are masked in it."""

import logging
import re
import sys
from datetime import UTC, datetime
from typing import TextIO

import msgspec

MASK = "[redacted]"
_SECRETS = re.compile(
    r"""
    (?P<keep>
        \b(?:Bearer|Basic)\s+                                     # an Authorization header's credential
      | ["']?(?:api[-_ ]?key|authorization|password|passwd|secret|client[-_]secret|access[-_]token|refresh[-_]token
               |secret[-_]key|private[-_]key|x-ag-api-key)["']?\s*(?:[:=]|=>)\s*(?:(?:Bearer|Basic)\s+)?["']?
    )
    [^\s"',;&}\])]{3,}
  | (?P<address>://[^/\s:@]*:)[^/\s@]+(?=@)                      # user:password@ in an address
  | (?P<key>\b(?:ag|tgk)_[A-Za-z0-9_-]{8,}                        # our keys
      | \b(?:sk|pk|rk)-[A-Za-z0-9_-]{8,}                          # OpenAI's, Anthropic's and their kin
      | \b(?:gsk|xai|hf|ghp|glpat)[-_][A-Za-z0-9_-]{16,}
      | \bAIza[A-Za-z0-9_-]{20,}
      | \b(?:AKIA|ASIA)[A-Z0-9]{12,}
      | \beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*    # a token of three parts
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)


def redact(text: str) -> str:
    """Return the text with everything that looks like a credential masked."""
    return _SECRETS.sub(_mask, text)


def _mask(found: re.Match[str]) -> str:
    key: str = found["key"] or ""
    return f"{found['keep'] or found['address'] or key[:3]}{MASK}"


class TextFormatter(logging.Formatter):
    """One readable line a record, masked whole: message, arguments and traceback."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Format and mask."""
        return redact(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a record, masked before it is encoded."""

    def format(self, record: logging.LogRecord) -> str:
        """Format, mask and encode."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return msgspec.json.encode(line).decode()


def configure_logging(level: str = "INFO", form: str = "json", stream: TextIO | None = None) -> None:
    """Send every logger's lines to one stream (stderr), masked: as `json` or `text`."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
