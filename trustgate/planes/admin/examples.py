"""What the documentation shows: one request per way to use an operation, one refusal per code."""

from collections.abc import Mapping
from typing import Any, Final

_ID: Final = "01920f3e-7b1a-7c3d-9a51-2f6f3c1d0a11"

PROBLEMS: Final[Mapping[str, tuple[int, str, str]]] = {
    "invalid_uuid": (400, "Something in the address is not right.", "invalid uuid path parameter"),
    "invalid_query": (400, "Something in the address is not right.", "invalid query parameters: view=grouped and …"),
    "unauthorized": (401, "A token is missing or not valid.", "Authorization required"),
    "not_found": (404, "There is no such thing, or not for this token.", ""),
    "already_exists": (
        409,
        "It contradicts what is there.",
        "gateway: resource already exists: the slug is already taken, choose another",
    ),
    "conflict": (409, "It contradicts what is there.", "gateway: instance limit reached: resource conflict"),
    "has_dependents": (
        409,
        "It is still needed.",
        "registry: resource has dependents: it is in the fallback chain of …",
    ),
    "request_too_large": (413, "The body is too large.", "the request body is larger than 8388608 bytes (8 MiB): …"),
    "validation_failed": (422, "What was sent cannot be taken.", "validation failed: name is required"),
    "invalid_pagination": (422, "What was sent cannot be taken.", "invalid page parameter"),
    "invalid_sort": (422, "What was sent cannot be taken.", "invalid sort parameter"),
    "invalid_filter": (422, "What was sent cannot be taken.", "invalid active parameter"),
    "result_too_large": (422, "What was sent cannot be taken.", "grouped registry view supports at most 200 …"),
    "internal_error": (500, "It broke on our side; the log names the request id.", ""),
    "bad_gateway": (502, "Somebody else did not answer.", "The tools cannot be read: … did not answer within 5 s."),
    "unavailable": (503, "Not now.", "the Postgres database … cannot be reached: check …"),
    "not_ready": (503, "Not now.", ""),
}
"""Code → status, what the status means, a message."""

REQUESTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "createGateway": {
        "simple": {"name": "My Gateway", "slug": "demo"},
        "metered": {
            "name": "Team A",
            "tenant_id": "team-a",
            "entitlements": {"tier": "standard", "burst_per_min": 600, "quota_per_month": 0, "max_instances": 3},
        },
    },
    "updateGateway": {"off": {"status": "inactive"}},
    "createRegistry": {
        "openai": {
            "name": "openai-primary",
            "provider": "openai",
            "auth": {"type": "api_key", "api_key": {"api_key": "sk-your-key"}},
        },
        "your own server": {
            "name": "vllm",
            "provider": "openai_compatible",
            "provider_options": {"base_url": "http://vllm:8000/v1"},
            "auth": {"type": "none"},
        },
        "built in": {"name": "echo", "provider": "echo"},
        "an MCP server": {
            "name": "docs",
            "type": "MCP",
            "mcp_target": {
                "url": "https://mcp.example.com/mcp",
                "auth": {"mode": "static", "header": "Authorization", "value": "Bearer your-token"},
            },
        },
    },
    "updateRegistry": {"another key": {"auth": {"type": "api_key", "api_key": {"api_key": "sk-your-key"}}}},
    "testConnection": {
        "stored": {"registry_id": _ID},
        "before storing": {"provider": "openai", "auth": {"type": "api_key", "api_key": {"api_key": "sk-your-key"}}},
    },
    "createConsumer": {
        "simple": {"name": "my-app", "registries": [{"id": _ID}]},
        "limited": {
            "name": "my-app",
            "registries": [{"id": _ID, "weight": 3, "model_policies": {"allowed": ["gpt-4o-mini"]}}],
        },
    },
    "updateConsumer": {"off": {"active": False}},
    "attachRegistry": {"weighted": {"weight": 3}},
    "createAuth": {"key": {"name": "my-app-key", "type": "api_key"}},
    "updateAuth": {"off": {"enabled": False}},
    "createPolicy": {
        "limit": {"name": "limit", "slug": "rate_limiter", "settings": {"limit": 100, "window": "1m"}},
    },
    "explainRequest": {
        "chat": {
            "consumer": "my-app",
            "body": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello!"}]},
        },
        "claude": {
            "consumer": "my-app",
            "path": "/v1/messages",
            "body": {
                "model": "claude-sonnet-4-5",
                "max_tokens": 99,
                "messages": [{"role": "user", "content": "Hello!"}],
            },
            "ask_services": True,
        },
    },
    "updatePolicy": {"watch only": {"mode": "observe"}},
}
"""Operation → named request bodies."""
