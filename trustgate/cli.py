"""The command `trustgate`: one program, every plane."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent

from trustgate.settings import Settings, read_settings
from trustgate.variables import BadSetting

MOST_WORKERS = 256
PLANES = ("proxy", "admin", "mcp", "run")
EXAMPLES = """
    examples:
      trustgate run --demo         everything in one process, with a gateway to try
      trustgate admin              the admin API alone, on SERVER_ADMIN_PORT (8080)
      trustgate                    the proxy alone, on SERVER_PROXY_PORT (8081)
      trustgate proxy --workers 4  the proxy as four processes behind one port; needs a Redis to count together
      trustgate token              an admin token for the API, good for a day
      trustgate migrate            bring the database up to date and leave
      trustgate export --gateway demo > demo.yaml; trustgate apply -f demo.yaml --dry-run
      trustgate doctor             what is wrong, and what to do about it

    Configuration comes from the environment, and from .env in development; see .env.example.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command. Exits with 2 for a wrong setting or argument, 1 for a start that failed."""
    chosen = _parser().parse_args(arguments)
    try:
        settings = read_settings()
        _commands()[chosen.command](settings, chosen)
    except BadSetting as error:
        _fail(2, str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trustgate",
        description="A gateway for LLM and agent traffic.",
        epilog=dedent(EXAMPLES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command="proxy", demo=False, workers=1, worker=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, text in (
        ("proxy", "serve applications (the default)"),
        ("admin", "serve the admin API, its OpenAPI document and its page at /docs"),
        ("mcp", "serve the MCP plane"),
        ("run", "serve all planes in one process"),
        ("migrate", "apply the database migrations that are pending, then leave"),
        ("apply", "make a gateway as a file has it: see what differs, then change that"),
        ("export", "write a gateway down as such a file"),
        ("token", "print an admin token"),
        ("doctor", "look at everything that this needs, and say how to mend what is wrong"),
        ("healthy", "say whether the planes of this machine are well, for container runtimes"),
        ("version", "print the version"),
    ):
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
        command.set_defaults(command=name)
        _options(command, name)
    return parser


def _options(command: argparse.ArgumentParser, name: str) -> None:
    if name in PLANES:
        command.add_argument(
            "--workers",
            type=int,
            default=1,
            metavar="N",
            help="serve with so many processes (default: 1); SIGHUP replaces them one after the other",
        )
        command.add_argument("--worker", type=Path, default=None, help=argparse.SUPPRESS)
    if name == "run":
        command.add_argument("--demo", action="store_true", help="make a gateway, a consumer and a key to try")
    if name in ("apply", "export"):
        command.add_argument(
            "--url",
            default="",
            help="the admin API to ask, with the token in TRUSTGATE_ADMIN_TOKEN; without it the database of this "
            "installation is used",
        )
    if name == "apply":
        command.add_argument("-f", "--file", type=Path, required=True, help="YAML or JSON; - is the standard input")
        command.add_argument("--dry-run", action="store_true", help="say what differs, and change nothing")
        command.add_argument("--prune", action="store_true", help="remove what is in the gateway and not in the file")
    if name == "export":
        command.add_argument("--gateway", required=True, metavar="SLUG", help="which gateway")
    if name == "migrate":
        command.add_argument("--dry-run", action="store_true", help="print the SQL, and apply nothing")
    if name == "token":
        command.add_argument("--subject", default="admin", help="whom the token is for (default: admin)")
        command.add_argument("--tenant", default="", help="limit the token to the gateways of this tenant")
        command.add_argument(
            "--lifetime", default="24h", metavar="DURATION", help="how long it is good for (default: 24h)"
        )


def _commands() -> dict[str, Callable[[Settings, argparse.Namespace], None]]:
    return {
        **dict.fromkeys(PLANES, _serve),
        "migrate": _migrate,
        "doctor": _doctor,
        "apply": _apply,
        "export": _export,
        "healthy": _healthy,
        "token": _token,
        "version": _version,
    }


def _serve(settings: Settings, chosen: argparse.Namespace) -> None:
    from trustgate.planes.start import start  # noqa: PLC0415 - `version` and `--help` need none of it

    if not 1 <= chosen.workers <= MOST_WORKERS:
        raise BadSetting(f"--workers is {chosen.workers}, which is not accepted: use 1 to {MOST_WORKERS}")
    if chosen.demo and chosen.workers > 1:
        raise BadSetting("--demo is for one process: leave --workers out")
    start(settings, chosen.command, demo=chosen.demo, workers=chosen.workers, worker=chosen.worker, fail=_fail)


def _migrate(settings: Settings, chosen: argparse.Namespace) -> None:
    from trustgate.planes.start import migrate_now, migrations_to_come  # noqa: PLC0415
    from trustgate.storage.migrate import sql_of  # noqa: PLC0415

    if chosen.dry_run:
        waiting = asyncio.run(migrations_to_come(settings, fail=_fail))
        print("\n".join(f"-- {name}\n{sql_of(name)}" for name in waiting) or "-- nothing to apply")  # noqa: T201
        return
    applied = asyncio.run(migrate_now(settings, fail=_fail))
    for name in applied:
        print(f"applied {name}")  # noqa: T201 - a command answers on its standard output
    if not applied:
        print("nothing to apply: the database is up to date")  # noqa: T201


def _doctor(settings: Settings, _: argparse.Namespace) -> None:
    from trustgate.planes.doctor import examine  # noqa: PLC0415

    logging.disable(logging.CRITICAL)  # what is wrong is said here, once and in words

    async def tell() -> int:
        failed = 0
        async for finding in examine(settings):
            print(finding, flush=True)  # noqa: T201
            failed += finding.fails
        return failed

    if failed := asyncio.run(tell()):
        _fail(1, f"{failed} of these have to be mended" if failed > 1 else "one of these has to be mended")


def _apply(settings: Settings, chosen: argparse.Namespace) -> None:
    from trustgate.planes.declaring import apply_file  # noqa: PLC0415

    def tell(line: str) -> None:
        print(line, flush=True)  # noqa: T201

    asyncio.run(
        apply_file(settings, chosen.file, url=chosen.url, dry=chosen.dry_run, prune=chosen.prune, tell=tell, fail=_fail)
    )


def _export(settings: Settings, chosen: argparse.Namespace) -> None:
    from trustgate.planes.declaring import exported  # noqa: PLC0415

    print(asyncio.run(exported(settings, chosen.gateway, url=chosen.url, fail=_fail)), end="")  # noqa: T201


def _healthy(settings: Settings, _: argparse.Namespace) -> None:
    from trustgate.planes.healthy import ailing  # noqa: PLC0415

    if trouble := ailing(settings.ports):
        _fail(1, trouble)


def _token(settings: Settings, chosen: argparse.Namespace) -> None:
    from trustgate.contract.policy import seconds  # noqa: PLC0415
    from trustgate.planes.admin.tokens import mint_token  # noqa: PLC0415
    from trustgate.planes.secret import server_secret  # noqa: PLC0415

    try:
        lifetime = int(seconds(chosen.lifetime))
    except ValueError as error:
        raise BadSetting(f"--lifetime: {error}") from error
    secret = server_secret(settings)
    token = mint_token(secret, subject=chosen.subject, tenant_id=chosen.tenant, lifetime_seconds=lifetime)
    print(token)  # noqa: T201


def _version(settings: Settings, _: argparse.Namespace) -> None:
    from trustgate import __version__  # noqa: PLC0415

    print(f"trustgate {settings.version or __version__}")  # noqa: T201


def _fail(status: int, message: str) -> None:
    print(f"trustgate: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(status)
