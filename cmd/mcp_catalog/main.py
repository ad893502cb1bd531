"""Asks the servers of the MCP catalogue whether they are there, and says which are not.

    python cmd/mcp_catalog/main.py [--file FILE] [--only CODE …] [--apply]

Nothing is sent but `initialize`, without a credential. `--apply` hides those that are broken and shows again those that
are not. Ends with 1 where one that is shown is broken.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from msgspec.structs import replace

from trustgate.forwarding.transport import Pool
from trustgate.mcp.catalog.entries import FILE, Entry, read, write
from trustgate.mcp.catalog.verifying import Finding, verified
from trustgate.mcp.speaking import Speaker


async def ask(entries: list[Entry]) -> list[Finding]:
    """Ask, and print what comes as it comes."""
    pool = Pool()
    speaker = Speaker(pool)
    findings = []
    try:
        async for finding in verified(entries, speaker):
            findings.append(finding)
            sys.stdout.write(f"{finding.status:<21} {finding.entry.code:<32} {finding.detail}\n")
            sys.stdout.flush()
    finally:
        await speaker.aclose()
        await pool.aclose()
    return findings


def main() -> int:
    """Do what the arguments say. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Ask the servers of the MCP catalogue whether they are there.")
    parser.add_argument("--file", type=Path, default=FILE, help="the catalogue; usually the one that is shipped")
    parser.add_argument("--only", nargs="+", metavar="CODE", default=[], help="ask these alone")
    parser.add_argument("--apply", action="store_true", help="hide what is broken, show what is not any more")
    given = parser.parse_args()
    entries = read(given.file)
    wanted = [entry for entry in entries if not given.only or entry.code in given.only]
    if missing := set(given.only) - {entry.code for entry in wanted}:
        parser.error(f"the catalogue has no {', '.join(sorted(missing))}")
    findings = asyncio.run(ask(wanted))
    hidden = {finding.entry.code: finding.broken for finding in findings}
    if given.apply:
        write(given.file, [replace(each, hidden=hidden.get(each.code, each.hidden)) for each in entries])
    broken = [finding for finding in findings if finding.broken and not finding.entry.hidden]
    sys.stdout.write(f"{len(findings)} asked, {len(broken)} of those that are shown are broken\n")
    return 1 if broken and not given.apply else 0


if __name__ == "__main__":
    sys.exit(main())
