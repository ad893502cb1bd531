"""`python -m bench`: install the peers, measure every row, print and keep the table."""

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from bench import report
from bench.gateways import ROWS
from bench.laboratory import Laboratory
from bench.launch import Row, Site
from bench.measure import QUICK, Figures, Latency, Plan, measure, measure_direct
from bench.processes import CannotRun, share_cores
from bench.report import Outcome, Report


class Bench(NamedTuple):
    """What every row is measured with, and against."""

    laboratory: Laboratory
    direct: dict[int, Latency]
    plan: Plan


def main() -> int:
    """Run the bench; 1 when a row could not run at all, never because of a time."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.default_int_handler)
    options = _options()
    rows = _chosen(options.rows, quick=options.quick)
    plan, cores = QUICK if options.quick else Plan(), share_cores()
    date, place = report.now(), report.machine(cores)
    outcomes = [_prepare(row) for row in rows]
    began = time.monotonic()
    with Laboratory(cores) as laboratory:
        print("the upstream by itself …", flush=True)
        direct = measure_direct(laboratory, plan)
        for row, outcome in zip(rows, outcomes, strict=True):
            if not outcome.reason:
                _try(Bench(laboratory, direct, plan), row, outcome)
    goals = report.judge(outcomes)
    whole = Report(date=date, machine=place, plan=plan, direct=direct, rows=outcomes, goals=goals)
    print(f"\n{report.markdown(whole)}\n{time.monotonic() - began:.0f} s to measure; kept in", *report.save(whole))
    return int(any(outcome.reason for outcome in outcomes))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="TrustGate and its peers, measured in one run."
    )
    names = ",".join(row.name for row in ROWS)
    parser.add_argument("--rows", metavar="A,B", help=f"only these rows, of {names}")
    parser.add_argument(
        "--quick", action="store_true", help="about a minute, with coarser figures and without the slowest row"
    )
    return parser.parse_args()


def _chosen(names: str | None, *, quick: bool) -> list[Row]:
    if names:
        wanted = names.split(",")
        unknown = set(wanted) - {row.name for row in ROWS}
        if unknown:
            sys.exit(f"no such row: {', '.join(sorted(unknown))}")
        return [row for row in ROWS if row.name in wanted]
    for row in ROWS:
        if quick and not row.in_quick:
            print(f"--quick leaves out {row.name}; --rows {row.name} runs it")
    return [row for row in ROWS if row.in_quick or not quick]


def _prepare(row: Row) -> Outcome:
    """Install what the row needs; what cannot be installed stays in the table with its reason."""
    print(f"{row.name}: ", end="", flush=True)
    try:
        outcome = Outcome(name=row.name, title=row.title, version=row.prepare())
        print(outcome.version, flush=True)
    except (CannotRun, OSError) as reason:
        outcome = Outcome(name=row.name, title=row.title, reason=str(reason))
        print(reason, flush=True)
    return outcome


def _try(bench: Bench, row: Row, outcome: Outcome) -> None:
    """Measure a row, and note in its outcome how that went."""
    print(f"{row.title} …", flush=True)
    began = time.monotonic()
    try:
        outcome.figures = _measure(bench, row)
        print(f"  {outcome.figures.cpu:.0f} µs a request; {time.monotonic() - began:.0f} s to measure", flush=True)
    except (CannotRun, OSError) as reason:
        outcome.reason = str(reason)
        print(f"  {reason}", flush=True)


def _measure(bench: Bench, row: Row) -> Figures:
    """Start, measure and end one gateway, in a folder of its own."""
    laboratory, direct, plan = bench
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, contextlib.ExitStack() as stack:
        running = row.start(Site(laboratory.upstream_port, Path(folder), laboratory.cores))
        stack.callback(running.child.end)
        try:
            return measure(laboratory, running, direct, plan)
        except CannotRun as reason:
            said = running.child.last_words()
            raise CannotRun(f"could not be measured: {reason} (its last words: {said})") from reason


if __name__ == "__main__":
    try:
        status = main()
    except KeyboardInterrupt:
        sys.exit("interrupted: everything that was started is ended")
    sys.exit(status)
