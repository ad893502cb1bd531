"""Finding plugins and checking them: what loads, what does not, and what somebody whose plugin is wrong is told."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trustgate import PolicySettings, RequestContext, hookimpl
from trustgate.enforcement.plugins import BadPlugin, Plugins, assemble, load_plugins

from .kit import Plain, module, plugin, says

Install = Callable[..., None]

GOOD = """
from trustgate import PolicySettings, hookimpl

class Settings(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    title = "Good"
    most: int = 1

@hookimpl
def settings_type():
    return Settings

@hookimpl
async def pre_request(ctx, settings):
    return None
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a package for one test: a module, and the entry points that lead to it."""

    def install(name: str, source: str, *, last: bool = False, **points: str) -> None:
        place = tmp_path / name
        place.mkdir()
        (place / f"{name}.py").write_text(source, "utf-8")
        about = place / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "utf-8")
        listed = "".join(f"{slug} = {target}\n" for slug, target in points.items())
        (about / "entry_points.txt").write_text(f"[trustgate.plugins]\n{listed}", "utf-8")
        if last:
            monkeypatch.setattr(sys, "path", [*sys.path, str(place)])
        else:
            monkeypatch.syspath_prepend(str(place))
        importlib.invalidate_caches()

    before = set(sys.modules)
    yield install
    for name in set(sys.modules) - before:
        if name.startswith("tg_"):
            del sys.modules[name]


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(BadPlugin) as told:
        call()
    return str(told.value)


def slugs(plugins: Plugins) -> list[str]:
    return [found.slug for found in plugins]


FOLDER = Path(__file__).parents[2] / "plugins" / "trustgate_plugins"
OURS = sorted(path.parent.name for path in FOLDER.glob("*/__init__.py"))
FIRST_PARTY = [name for name in OURS if name != "strategies"]
"""Those that are policies."""


# Which are loaded.


def test_our_own_load_by_themselves() -> None:
    assert slugs(load_plugins()) == FIRST_PARTY


def test_others_load_only_where_they_are_named(install: Install) -> None:
    install("tg_good", GOOD, good="tg_good")
    assert slugs(load_plugins()) == FIRST_PARTY
    loaded = load_plugins(["good"])
    assert slugs(loaded) == sorted([*FIRST_PARTY, "good"])
    good = loaded.get("good")
    assert good is not None
    assert (good.stages, good.settings_type.title) == (("pre_request",), "Good")


def test_one_that_is_not_named_is_not_even_imported(install: Install) -> None:
    install("tg_loud", "raise SystemExit('imported')", loud="tg_loud")
    assert slugs(load_plugins()) == FIRST_PARTY


def test_naming_our_own_changes_nothing() -> None:
    assert slugs(load_plugins(["rate_limiter"])) == FIRST_PARTY


@pytest.mark.parametrize("last", [False, True])
def test_nobody_takes_the_place_of_another_silently(install: Install, last: bool) -> None:
    """Whoever installs a second `rate_limiter` must neither replace ours nor make it vanish unnoticed."""
    install("tg_thief", GOOD, last=last, rate_limiter="tg_thief")
    try:
        loaded = load_plugins()
    except BadPlugin as told:
        assert "rate_limiter" in str(told)
    else:
        found = loaded.get("rate_limiter")
        assert found is not None
        assert found.settings_type.__module__.startswith("trustgate_plugins.")


@pytest.mark.parametrize(("alias", "slug"), [("ratelimit", "rate_limiter"), ("requestsize", "request_size_limiter")])
def test_short_names(alias: str, slug: str) -> None:
    plugins = load_plugins()
    found = plugins.get(alias)
    assert found is not None
    assert found is plugins.get(slug)


# Which cannot be.


def test_a_name_that_nothing_provides() -> None:
    said = refused(lambda: load_plugins(["nobody", "rate_limiter", "another"]))
    assert said == (
        f"TRUSTGATE_PLUGINS names another, nobody, which no installed package provides (installed: {', '.join(OURS)})"
    )


@pytest.mark.parametrize(
    ("source", "target", "why"),
    [
        ("", "tg_missing", "No module named 'tg_missing'"),
        ("import tg_nowhere", "tg_bad", "No module named 'tg_nowhere'"),
        ("", "tg_bad:thing", "no attribute 'thing'"),
        ("def broken(:", "tg_bad", "invalid syntax"),
        ("1 / 0", "tg_bad", "division by zero"),
        ("raise KeyError('HOME')", "tg_bad", "HOME"),
    ],
)
def test_one_that_cannot_be_imported(install: Install, source: str, target: str, why: str) -> None:
    install("tg_bad", source, bad=target)
    said = refused(lambda: load_plugins(["bad"]))
    assert said.startswith(f"plugin bad ({target}) cannot be imported: ")
    assert why in said


NO_SETTINGS = "plugin bad must implement settings_type() and return a subclass of PolicySettings"


@pytest.mark.parametrize("settings", [None, dict, "Settings", PolicySettings(), object])
def test_one_without_proper_settings(settings: object) -> None:
    assert refused(lambda: assemble({"bad": module(settings, pre_request=says(None))})) == NO_SETTINGS


def test_one_that_declares_no_settings() -> None:
    bare = module(pre_request=says(None))
    del bare.__dict__["settings_type"]
    assert refused(lambda: assemble({"bad": bare})) == NO_SETTINGS


def test_one_whose_settings_type_fails() -> None:
    bare = module(pre_request=says(None))
    bare.__dict__["settings_type"] = hookimpl(lambda: 1 / 0)
    assert "bad" in refused(lambda: assemble({"bad": bare}))


def test_one_without_any_stage() -> None:
    said = refused(lambda: assemble({"bad": module()}))
    assert said == (
        "plugin bad implements no stage: implement one of pre_request, pre_call, pre_response, on_chunk, post_response"
    )


def test_a_function_that_is_not_marked_is_no_hook() -> None:
    bare = module()
    bare.__dict__["pre_request"] = says(None)
    assert "implements no stage" in refused(lambda: assemble({"bad": bare}))


def test_the_stage_that_does_not_exist_is_refused_by_name() -> None:
    said = refused(lambda: assemble({"bad": module(pre_request=says(None), post_request=says(None))}))
    assert "unknown hook 'post_request'" in said


def test_an_argument_that_no_hook_has() -> None:
    async def hook(ctx: RequestContext, response: Any) -> None:
        pass

    said = refused(lambda: assemble({"bad": module(pre_request=hook)}))
    assert said.startswith("plugin bad: ")
    assert "response" in said
    assert "pre_request" in said


@pytest.mark.parametrize("stage", ["pre_request", "post_response"])
def test_an_argument_of_another_stage(stage: str) -> None:
    async def hook(chunk: Any) -> None:
        pass

    assert "chunk" in refused(lambda: assemble({"bad": module(**{stage: hook})}))


def test_the_same_plugin_under_two_names() -> None:
    same = module(pre_request=says(None))
    said = refused(lambda: assemble({"one": same, "two": same}))
    assert said.startswith("plugin two: ")


def test_a_good_one_beside_a_bad_one_does_not_help() -> None:
    assert "plugin bad" in refused(lambda: assemble({"good": module(pre_request=says(None)), "bad": module()}))


# Settings.


class Strict(Plain, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Has rules."""

    limit: int
    low: int = 0

    def __post_init__(self) -> None:
        if self.low > self.limit:
            raise ValueError("`low` is above `limit`")


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"limit": 1, "other": 2}, "other"),
        ({"limit": 1, "low": 5}, "`low` is above `limit`"),
        ({"limit": None}, "limit"),
    ],
)
def test_wrong_settings_are_told_by_name(given: dict[str, Any], names: str) -> None:
    with pytest.raises(ValueError, match=names):
        plugin(settings=Strict, pre_request=says(None)).parse(given)


def test_right_settings_are_typed() -> None:
    assert plugin(settings=Strict, pre_request=says(None)).parse({"limit": 3}) == Strict(limit=3)


def test_stages_are_told_in_the_order_in_which_they_run() -> None:
    made = plugin(post_response=says(None), on_chunk=says(None), pre_request=says(None), pre_response=says(None))
    assert made.stages == ("pre_request", "pre_response", "on_chunk", "post_response")


# Strategies.

TURNS = """
from trustgate import Strategy, hookimpl

class Last(Strategy):
    def __init__(self, number):
        self.number = number
    def pick(self, turn, usable):
        return next((at for at in reversed(range(self.number)) if usable is None or usable(at)), None)

@hookimpl
def strategies():
    return {"last": lambda candidates, options, services, chance: Last(len(candidates))}
"""


def test_a_package_of_somebody_else_offers_a_strategy(install: Install) -> None:
    install("tg_turns", TURNS, turns="tg_turns")
    assert "last" not in load_plugins().strategies
    loaded = load_plugins(["turns"])
    assert slugs(loaded) == FIRST_PARTY, "it is no policy"
    assert {"round-robin", "last"} <= set(loaded.strategies)


def test_a_strategy_of_a_name_that_is_taken(install: Install) -> None:
    install("tg_thief", TURNS.replace('"last"', '"random"'), thief="tg_thief")
    said = refused(lambda: load_plugins(["thief"]))
    assert "strategy random is offered twice, by " in said
    assert "thief" in said


def test_strategies_that_cannot_be_had(install: Install) -> None:
    install(
        "tg_broken", TURNS.replace('return {"last"', 'raise RuntimeError("no")\n    return {"last"'), broken="tg_broken"
    )
    said = refused(lambda: load_plugins(["broken"]))
    assert said == "plugin broken: strategies() failed: RuntimeError: no"
