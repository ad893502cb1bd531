"""Configuration reaches every process: pushed, acknowledged, and served on without the database that it is in."""

import json
import signal
import time
from functools import partial
from typing import Any

from tests.e2e.program import Program, until
from tests.fleet.kit import Fleet, Town


def ready(told: tuple[int, str]) -> tuple[int, Any]:

    return told[0], json.loads(told[1])


def test_a_write_that_waits_is_answered_when_everybody_has_it(fleet: Fleet) -> None:
    admin_plane = fleet.start("admin")
    proxies = [fleet.start("proxy"), fleet.start("proxy")]
    with admin_plane.admin() as admin:
        town = Town(admin)
        written = admin.call("PUT", town.gateway.path() + "?wait=applied", {"name": "Renamed"})
        assert written.is_success, written.text
        assert written.headers["x-ag-applied"] == "2/2"
        assert "x-ag-not-applied" not in written.headers
        revision = written.headers["x-ag-revision"]
        for proxy in proxies:
            told = town.ask(proxy)
            assert (told.status_code, told.headers["x-ag-revision"]) == (200, revision)

        shown = admin.done("GET", "/v1/config/processes")
        assert shown["revision"] == int(revision)
        assert {each["pid"] for each in shown["processes"]} == {proxy.process.pid for proxy in proxies}
        assert {(*each["planes"], each["revision"], each["behind"]) for each in shown["processes"]} == {
            ("proxy", int(revision), 0)
        }
        assert admin.call("POST", "/v1/gateways?wait=soon", {"name": "x", "slug": "x"}).status_code == 400
        with admin_plane.admin(tenant_id="somebody") as tenant:
            assert tenant.call("GET", "/v1/config/processes").status_code == 404

        proxies[0].stop()
        left = admin.done("GET", "/v1/config/processes")["processes"]
        assert [each["pid"] for each in left] == [proxies[1].process.pid], "who leaves says so"


def test_a_process_that_hangs_is_named(fleet: Fleet) -> None:

    admin_plane, proxy, hung = fleet.start("admin"), fleet.start("proxy"), fleet.start("proxy")
    with admin_plane.admin() as admin:
        town = Town(admin)
        hung.signal(signal.SIGSTOP)
        try:
            written = admin.call("PUT", town.gateway.path() + "?wait=applied", {"name": "Renamed"})
            assert written.headers["x-ag-applied"] == "1/2"
            late = [each for each in admin.done("GET", "/v1/config/processes")["processes"] if each["behind"]]
            assert [each["id"] for each in late] == [written.headers["x-ag-not-applied"]]
            assert late[0]["pid"] == hung.process.pid
            assert town.ask(proxy).status_code == 200
        finally:
            hung.signal(signal.SIGCONT)


def test_a_revoked_key_is_refused_everywhere_within_a_second(fleet: Fleet) -> None:
    admin_plane = fleet.start("admin")
    proxies = [fleet.start("proxy"), fleet.start("proxy")]
    with admin_plane.admin() as admin:
        town = Town(admin)
        for proxy in proxies:
            until(partial(town.told, proxy, 200))
        admin.done("DELETE", town.gateway.path(f"/auths/{town.key.id}"))
        revoked = time.monotonic()
        for proxy in proxies:
            until(partial(town.told, proxy, 401))
        assert time.monotonic() - revoked < 1.0


def test_without_its_database_a_data_plane_serves_and_starts(fleet: Fleet) -> None:
    admin_plane, proxy, other = fleet.start("admin"), fleet.start("proxy"), fleet.start("proxy")
    with admin_plane.admin() as admin:
        town = Town(admin)
        admin.call("PUT", town.gateway.path() + "?wait=applied", {"name": "Renamed"})
        other.stop()  # which keeps what it served

        fleet.line.cut()
        until(lambda: "degraded" in proxy.get("proxy", "/readyz")[1] or None, what="the proxy knows")
        status, told = ready(proxy.get("proxy", "/readyz"))
        assert (status, told["status"]) == (200, "ready")
        assert told["dependencies"]["database"].startswith("degraded: ")
        assert town.ask(proxy).status_code == 200
        status, told = ready(admin_plane.get("admin", "/readyz"))
        assert status == 503
        assert "DB_HOST" in told["dependencies"]["database"] or "answered" in told["dependencies"]["database"]
        refused = admin.call("GET", "/v1/gateways")
        assert (refused.status_code, refused.json()["error"]) == (503, "unavailable")

        fleet.again(other)
        assert town.ask(other).status_code == 200, "it serves what was kept"
        assert "which was kept" in other.stderr

        fleet.line.mend()
        written = until(lambda: answered(admin, town))
        for each in (proxy, other):
            until(partial(town.serves, each, written))
            until(partial(healthy, each))
        until(lambda: len(admin.done("GET", "/v1/config/processes")["processes"]) == 2 or None)


def healthy(program: Program) -> bool:
    return "degraded" not in program.get("proxy", "/readyz")[1]


def answered(admin: Any, town: Town) -> str | None:
    told = admin.call("PUT", town.gateway.path(), {"name": "Once more"})
    return str(told.headers["x-ag-revision"]) if told.is_success else None


def test_a_data_plane_that_has_kept_nothing_does_not_start_without_a_database(fleet: Fleet) -> None:
    fleet.line.cut()
    program = fleet.start("proxy", ready=False)
    assert program.wait() == 1
    assert "cannot be reached: check DB_HOST" in program.stderr


def test_who_may_not_serve_what_is_old_refuses_and_says_so(fleet: Fleet) -> None:
    admin_plane = fleet.start("admin")
    strict = fleet.start("proxy", CONFIG_MAX_STALENESS="1s", CONFIG_REFUSE_STALE="true")
    lenient = fleet.start("proxy", CONFIG_MAX_STALENESS="1s")
    with admin_plane.admin() as admin:
        town = Town(admin)
        admin.call("PUT", town.gateway.path() + "?wait=applied", {"name": "Renamed"})
        assert (town.ask(strict).status_code, town.ask(lenient).status_code) == (200, 200)
        fleet.line.cut()
        refused = until(lambda: ((told := town.ask(strict)).status_code == 503 and told) or None)
        assert refused.json()["error"]["code"] == "configuration_stale"
        assert refused.headers["retry-after"] == "1"
        assert strict.readiness("proxy") == 503
        until(lambda: "is the newest" in lenient.get("proxy", "/readyz")[1] or None)
        assert lenient.readiness("proxy") == 200
        assert town.ask(lenient).status_code == 200
        fleet.line.mend()
        until(lambda: town.ask(strict).status_code == 200 or None)
        until(lambda: strict.readiness("proxy") == 200 or None)
