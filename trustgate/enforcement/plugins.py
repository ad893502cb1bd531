"""Finding plugins: first-party ones load by themselves, others only when TRUSTGATE_PLUGINS names them."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

import msgspec
import pluggy
from msgspec import Struct

from trustgate.contract import hookspecs
from trustgate.contract.context import Stage
from trustgate.contract.policy import PolicySettings
from trustgate.contract.strategy import Strategies

GROUP = "trustgate.plugins"
FIRST_PARTY = "trustgate_plugins."
STAGES: tuple[Stage, ...] = ("pre_request", "pre_call", "pre_response", "on_chunk", "post_response")
BESIDE = ("refund", "browser")
"""Hooks that are no stage of a request: nobody chooses them, they run where a plugin has them."""
ALIASES = {
    "ratelimit": "rate_limiter",
    "tokenratelimit": "token_rate_limiter",
    "requestsize": "request_size_limiter",
    "semanticcache": "semantic_cache",
}


class BadPlugin(Exception):
    """A plugin that cannot be loaded; the message says which and why. It stops the start."""


class Plugin(Struct, frozen=True, kw_only=True):
    """One loaded plugin: the hooks it implements, by stage, are the stages it supports."""

    slug: str
    settings_type: type[PolicySettings]
    hooks: Mapping[str, Callable[..., Any]]

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The supported stages in the order in which they run."""
        return tuple(stage for stage in STAGES if stage in self.hooks)

    @property
    def mandatory(self) -> tuple[Stage, ...]:
        """The stages that run whichever a policy chooses."""
        return tuple(stage for stage in self.stages if stage in self.settings_type.mandatory)

    def chosen(self, stages: Sequence[str]) -> tuple[Stage, ...]:
        """Return the stages that a policy runs at: the mandatory ones, and of the others those it names, or all."""
        return tuple(stage for stage in self.stages if not stages or stage in stages or stage in self.mandatory)

    def parse(self, settings: Mapping[str, Any]) -> PolicySettings:
        """Return the typed settings. Raises ValueError naming the field that is unknown, missing or wrong."""
        return msgspec.convert(settings, self.settings_type)


class Plugins:
    """Every loaded policy by slug (the short names of the published API are accepted too), every strategy by name."""

    def __init__(self, plugins: Iterable[Plugin], strategies: Strategies | None = None) -> None:
        self._by_slug = {plugin.slug: plugin for plugin in plugins}
        self.strategies = strategies or {}

    def get(self, slug: str) -> Plugin | None:
        """Return the plugin of that slug or alias."""
        return self._by_slug.get(ALIASES.get(slug, slug))

    def __iter__(self) -> Iterator[Plugin]:
        return iter(sorted(self._by_slug.values(), key=lambda plugin: plugin.slug))


def load_plugins(named: Iterable[str] = ()) -> Plugins:
    """Load first-party plugins and the `named` ones. Raises BadPlugin, also for a name that nothing provides."""
    found = _found()
    wanted = set(named)
    if missing := wanted - found.keys():
        raise BadPlugin(
            f"TRUSTGATE_PLUGINS names {', '.join(sorted(missing))}, which no installed package provides "
            f"(installed: {', '.join(sorted(found))})"
        )
    chosen = [point for point in found.values() if point.value.startswith(FIRST_PARTY) or point.name in wanted]
    return assemble({point.name: _load(point) for point in chosen})


def _found() -> Mapping[str, EntryPoint]:
    """Return who offers what. Two packages that offer the same slug are a mistake, or somebody in another's place."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        if point.name in found and found[point.name].value != point.value:
            raise BadPlugin(
                f"plugin {point.name} is offered twice, as {found[point.name].value} and as {point.value}: "
                "uninstall one of the packages"
            )
        found[point.name] = point
    return found


def assemble(modules: Mapping[str, object]) -> Plugins:
    """Check the modules against the hook specifications and return them as plugins. Raises BadPlugin."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for slug, module in modules.items():
        _register(manager, slug, module)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise BadPlugin(str(error)) from error
    chosen = {slug: _strategies(manager, slug) for slug in modules}
    policies = [slug for slug in modules if not chosen[slug] or _hook(manager, "settings_type", slug)]
    return Plugins([_describe(manager, slug) for slug in policies], _merged(chosen))


def _load(point: EntryPoint) -> object:
    try:
        return cast(object, point.load())
    except Exception as error:  # importing runs the plugin's own code, which may fail in any way
        raise BadPlugin(f"plugin {point.name} ({point.value}) cannot be imported: {error}") from error


def _register(manager: pluggy.PluginManager, slug: str, module: object) -> None:
    try:
        manager.register(module, name=slug)
    except (pluggy.PluginValidationError, ValueError) as error:
        raise BadPlugin(f"plugin {slug}: {error}") from error


def _hook(manager: pluggy.PluginManager, name: str, slug: str) -> Callable[..., Any] | None:
    caller: pluggy.HookCaller = getattr(manager.hook, name)
    return next((impl.function for impl in caller.get_hookimpls() if impl.plugin_name == slug), None)


def _strategies(manager: pluggy.PluginManager, slug: str) -> Strategies:
    offered = _hook(manager, "strategies", slug)
    try:
        return dict(offered()) if offered else {}
    except Exception as error:  # it is the plugin's own code, which may fail in any way
        raise BadPlugin(f"plugin {slug}: strategies() failed: {type(error).__name__}: {error}") from error


def _merged(chosen: Mapping[str, Strategies]) -> Strategies:
    found: dict[str, str] = {}
    for slug, strategies in chosen.items():
        for name in strategies:
            if name in found:
                raise BadPlugin(f"strategy {name} is offered twice, by {found[name]} and by {slug}: uninstall one")
            found[name] = slug
    return {name: chosen[slug][name] for name, slug in found.items()}


def _describe(manager: pluggy.PluginManager, slug: str) -> Plugin:
    declared = _hook(manager, "settings_type", slug)
    try:
        kind = declared() if declared else None
    except Exception as error:  # it is the plugin's own code, which may fail in any way
        raise BadPlugin(f"plugin {slug}: settings_type() failed: {type(error).__name__}: {error}") from error
    if not (inspect.isclass(kind) and issubclass(kind, PolicySettings)):
        raise BadPlugin(f"plugin {slug} must implement settings_type() and return a subclass of PolicySettings")
    hooks = {name: hook for name in (*STAGES, *BESIDE) if (hook := _hook(manager, name, slug))}
    if not hooks.keys() - {"refund"}:
        raise BadPlugin(f"plugin {slug} implements no stage: implement one of {', '.join(STAGES)}")
    return Plugin(slug=slug, settings_type=kind, hooks=hooks)
