-- What servers of the Model Context Protocol say of their tools: as it was accepted (at first whatever was seen first), and
-- as it was seen last where that is another thing. It is not configuration: the MCP plane writes it, without a revision.
-- `digest`s are SHA-256 in hex; a definition that is too long to be kept is ''. Times are Unix seconds, 0 is never.

CREATE TABLE tool_definitions (
    gateway_id TEXT NOT NULL REFERENCES gateways (id) ON DELETE CASCADE,
    registry_id TEXT NOT NULL REFERENCES registries (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    accepted_digest TEXT NOT NULL,
    accepted TEXT NOT NULL,
    seen_digest TEXT NOT NULL,
    seen TEXT NOT NULL,
    first_seen_at DOUBLE PRECISION NOT NULL,
    changed_at DOUBLE PRECISION NOT NULL,
    accepted_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (registry_id, name)
);
