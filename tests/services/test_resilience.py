"""Each dependency is taken away under load: nobody is refused for it, and no event is lost or doubled."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FAULTS = 7


def test_nothing_that_is_away_costs_a_request_or_an_event() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.services.resilience", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [line for line in done.stdout.splitlines() if re.match(r"\| \w+ (stopped|hanging|killed) ", line)]
    assert len(rows) == FAULTS, done.stdout
    for row in rows:
        _, _, number, told, *_ = (cell.strip() for cell in row.split("|"))
        assert int(number) > 50
        assert told == f"{number} x 200", row
    asked, arrived, twice = re.findall(
        r"Of (\d+) requests (\d+) have their event in Kafka, (\d+) of them", done.stdout
    )[0]
    assert asked == arrived
    assert twice == "0"
