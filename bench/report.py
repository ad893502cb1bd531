"""The table, the targets, and the two files that a run leaves in `bench/results/`."""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from bench.measure import CONNECTIONS, Figures, Latency, Plan
from bench.processes import ROOT, Cores

RESULTS = ROOT / "bench" / "results"
SATURATED = 0.9


class Outcome(Struct, kw_only=True):
    """One row as it went: its figures, or the reason why there are none."""

    name: str
    title: str
    version: str = ""
    figures: Figures | None = None
    reason: str = ""


class Goal(NamedTuple):
    """A target: what is compared, with which bound, and on which side of it one has to be."""

    text: str
    bound: float
    at_most: bool
    value: Callable[[Mapping[str, Figures]], float]
    unit: str = "x"


class Judged(Struct, kw_only=True):
    """A goal as this run saw it."""

    text: str
    wanted: str
    measured: float | None
    verdict: str


GOALS = (
    Goal("CPU per request, over the bare pass-through", 2.4, True, lambda f: f["trustgate"].cpu / f["bare"].cpu),
    Goal("CPU per request, below Portkey's", 6, False, lambda f: f["portkey"].cpu / f["trustgate"].cpu),
    Goal("CPU per request, below LiteLLM's", 60, False, lambda f: f["litellm"].cpu / f["trustgate"].cpu),
    Goal("added latency at 1 connection, p50", 0.5, True, lambda f: f["trustgate"].added[1].p50, "ms"),
    Goal("CPU per streamed chunk, bare", 25, True, lambda f: f["bare"].chunk(), "µs"),
    Goal("CPU per streamed chunk", 25, True, lambda f: f["trustgate"].chunk(), "µs"),
    Goal("resident memory after the load", 120, True, lambda f: f["trustgate"].memory, "MB"),
    Goal("start-up until ready", 1.5, True, lambda f: f["trustgate"].ready, "s"),
    Goal("CPU per request, 10 000 consumers over 1", 1.1, True, lambda f: f["trustgate-10k"].cpu / f["trustgate"].cpu),
)


class Report(Struct, kw_only=True):
    """All of one run, as it is written to the JSON file."""

    date: str
    machine: dict[str, str]
    plan: Plan
    direct: dict[int, Latency]
    rows: list[Outcome]
    goals: list[Judged]


def judge(rows: Sequence[Outcome]) -> list[Judged]:
    """Compare the figures with every goal. A goal whose rows are missing is not measured, which is no miss."""
    figures = {row.name: row.figures for row in rows if row.figures}
    return [_judged(goal, figures) for goal in GOALS]


def _judged(goal: Goal, figures: Mapping[str, Figures]) -> Judged:
    wanted = f"{'at most' if goal.at_most else 'at least'} {goal.bound:g} {goal.unit}"
    try:
        measured = goal.value(figures)
    except LookupError:
        return Judged(text=goal.text, wanted=wanted, measured=None, verdict="not measured")
    met = measured <= goal.bound if goal.at_most else measured >= goal.bound
    return Judged(text=goal.text, wanted=wanted, measured=measured, verdict="meets" if met else "misses")


def machine(cores: Cores) -> dict[str, str]:
    """Describe where the run took place, in what may be shared with anybody."""
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": str(os.cpu_count()),
        "gateway on core": ", ".join(map(str, sorted(cores.gateway))),
        "upstream and load on": ", ".join(map(str, sorted(cores.others))),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": _commit(),
        "busy before (load average)": f"{os.getloadavg()[0]:.2f}",
    }


def _commit() -> str:
    git = shutil.which("git")
    if not git:
        return "unknown"
    asked = subprocess.run([git, "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def markdown(report: Report) -> str:
    """Write the whole report as Markdown that also reads well on a terminal."""
    place = "; ".join(f"{name} {value}" for name, value in report.machine.items())
    parts = [
        f"# Bench, {report.date}",
        place,
        _table(_rows(report)),
        *_footnotes(report),
        "## Targets",
        _table(_goal_rows(report.goals)),
    ]
    return "\n\n".join(parts) + "\n"


BOUND_NOTE = "≥: the gateway could not use all of its core: something else was the limit."
DISTURBED = 0.1

HEADER = (
    "gateway",
    "CPU µs/request",
    "requests/s",
    *(f"+ms at {connections}: p50 / p99" for connections in CONNECTIONS),
    "CPU µs/chunk",
    "MB",
    "ready s",
    "errors",
)


def _rows(report: Report) -> list[Sequence[str]]:
    return [HEADER, *(_row(outcome) for outcome in report.rows)]


def _row(outcome: Outcome) -> Sequence[str]:
    figures = outcome.figures
    if figures is None:
        return (outcome.title, "not run", *[""] * (len(HEADER) - 2))
    bound = "" if figures.busy >= SATURATED else "≥ "
    added = (f"{figures.added[n].p50:.2f} / {figures.added[n].p99:.2f}" for n in CONNECTIONS)
    return (
        outcome.title,
        _number(figures.cpu),
        bound + _number(figures.rate),
        *added,
        "failed" if figures.stream_cpu is None else _number(figures.stream_cpu),
        _number(figures.memory),
        f"{figures.ready:.2f}",
        str(sum(figures.errors.values())),
    )


def _footnotes(report: Report) -> list[str]:
    direct = ", ".join(f"{n}: {at.p50:.2f} / {at.p99:.2f}" for n, at in report.direct.items())
    failed = [
        (row.title, text, count) for row in report.rows if row.figures for text, count in row.figures.errors.items()
    ]
    notes = {
        "Not run:": [f"{row.title}: {row.reason}" for row in report.rows if row.reason],
        "Disturbed by other processes, so worse than it is; run it again on a quiet machine:": [
            f"{row.title}: they kept {row.figures.others:.1f} cores busy"
            for row in report.rows
            if row.figures and row.figures.others > DISTURBED
        ],
        "Errors:": [f"{title}: {count} times {text}" for title, text, count in failed],
        "Versions:": [f"{row.title}: {row.version}" for row in report.rows if row.version],
    }
    lists = ["\n".join([head, "", *(f"- {line}" for line in lines)]) for head, lines in notes.items() if lines]
    return [f"Directly to the upstream, ms at connections p50 / p99: {direct}.", BOUND_NOTE, *lists]


def _goal_rows(goals: Sequence[Judged]) -> list[Sequence[str]]:
    rows = [(goal.text, goal.wanted, _measured(goal.measured), goal.verdict) for goal in goals]
    return [("target", "wanted", "measured", ""), *rows]


def _measured(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _number(value: float) -> str:
    if value >= 10_000:
        return f"{round(value, -2):,.0f}".replace(",", " ")
    return f"{value:,.0f}".replace(",", " ") if value >= 100 else f"{value:.1f}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Align a Markdown table: words to the left, figures to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    head, *body = (_line(row, widths) for row in rows)
    rule = "|".join(["", *("-" * (width + 1) + (":" if column else "-") for column, width in enumerate(widths)), ""])
    return "\n".join([head, rule, *body])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return f"| {first[0]:<{first[1]}} | " + " | ".join(f"{cell:>{width}}" for cell, width in rest) + " |"


def save(report: Report) -> list[Path]:
    """Write the run's two files and return where they are."""
    RESULTS.mkdir(exist_ok=True)
    pretty = msgspec.json.format(msgspec.json.encode(report), indent=2).decode()
    files = {"json": pretty, "md": markdown(report)}
    paths = [RESULTS / f"{report.date}.{kind}" for kind in files]
    for path, text in zip(paths, files.values(), strict=True):
        path.write_text(text)
    return paths


def now() -> str:
    """Return the name of a run: the date and the minute it begins."""
    return time.strftime("%Y-%m-%dT%H%M")
