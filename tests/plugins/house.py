"""Real plugins in a whole proxy: their policies, over scripted upstreams."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from tests.lifecycle.kit import Rule
from trustgate.enforcement.plugins import BESIDE, STAGES


def rule_of(plugin: ModuleType, settings: Mapping[str, Any], **fields: Any) -> Rule:
    """Return a policy of a plugin as it stands in its module, with these settings and fields."""
    hooks = {name: getattr(plugin, name) for name in (*STAGES, *BESIDE) if hasattr(plugin, name)}
    return Rule(hooks, plugin.settings_type(), {"settings": dict(settings), **fields})
