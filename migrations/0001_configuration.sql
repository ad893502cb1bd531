-- The configuration. What is looked up, sorted or filtered by is a column; everything else is in `document`.
-- Types are TEXT, BIGINT and DOUBLE PRECISION, the same on SQLite and Postgres. Times are RFC 3339 UTC text with nine
-- digits of a second, so that text sorts as time does. `_folded` is the name without regard to case.
-- A unique index or key is named after its columns, table__column__column: that is how a violation is reported.

CREATE TABLE gateways (
    id TEXT PRIMARY KEY,
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    name_folded TEXT NOT NULL,
    status TEXT NOT NULL,
    domain TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    document TEXT NOT NULL
);
CREATE UNIQUE INDEX gateways__slug ON gateways (slug);
CREATE UNIQUE INDEX gateways__domain ON gateways (domain) WHERE domain <> '';
CREATE INDEX gateways_newest ON gateways (created_at DESC, id);
CREATE INDEX gateways_of_tenant ON gateways (tenant_id, created_at DESC, id);

CREATE TABLE registries (
    id TEXT PRIMARY KEY,
    gateway_id TEXT NOT NULL REFERENCES gateways (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    name_folded TEXT NOT NULL,
    type TEXT NOT NULL,
    enabled BIGINT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    document TEXT NOT NULL
);
CREATE UNIQUE INDEX registries__gateway_id__id ON registries (gateway_id, id);
CREATE UNIQUE INDEX registries__gateway_id__name ON registries (gateway_id, name);
CREATE INDEX registries_newest ON registries (gateway_id, created_at DESC, id);

CREATE TABLE consumers (
    id TEXT PRIMARY KEY,
    gateway_id TEXT NOT NULL REFERENCES gateways (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    name_folded TEXT NOT NULL,
    slug TEXT NOT NULL,
    type TEXT NOT NULL,
    active BIGINT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    document TEXT NOT NULL
);
CREATE UNIQUE INDEX consumers__gateway_id__id ON consumers (gateway_id, id);
CREATE UNIQUE INDEX consumers__gateway_id__name ON consumers (gateway_id, name);
CREATE UNIQUE INDEX consumers__gateway_id__slug ON consumers (gateway_id, slug);
CREATE INDEX consumers_newest ON consumers (gateway_id, created_at DESC, id);

CREATE TABLE auths (
    id TEXT PRIMARY KEY,
    gateway_id TEXT NOT NULL REFERENCES gateways (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    name_folded TEXT NOT NULL,
    type TEXT NOT NULL,
    enabled BIGINT NOT NULL,
    key_hash TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    document TEXT NOT NULL
);
CREATE UNIQUE INDEX auths__gateway_id__id ON auths (gateway_id, id);
CREATE UNIQUE INDEX auths__key_hash ON auths (key_hash) WHERE key_hash <> '';
CREATE INDEX auths_newest ON auths (gateway_id, created_at DESC, id);

CREATE TABLE policies (
    id TEXT PRIMARY KEY,
    gateway_id TEXT NOT NULL REFERENCES gateways (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    name_folded TEXT NOT NULL,
    slug TEXT NOT NULL,
    enabled BIGINT NOT NULL,
    is_global BIGINT NOT NULL,
    mode TEXT NOT NULL,
    priority BIGINT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    document TEXT NOT NULL
);
CREATE UNIQUE INDEX policies__gateway_id__id ON policies (gateway_id, id);
CREATE UNIQUE INDEX policies__gateway_id__name ON policies (gateway_id, name);
CREATE INDEX policies_newest ON policies (gateway_id, created_at DESC, id);

-- Both ends of a link are in one gateway: the foreign keys carry the gateway's id.

CREATE TABLE consumer_registries (
    gateway_id TEXT NOT NULL,
    consumer_id TEXT NOT NULL,
    registry_id TEXT NOT NULL,
    weight BIGINT NOT NULL,
    position BIGINT NOT NULL,
    CONSTRAINT consumer_registries__gateway_id__consumer_id__registry_id
        PRIMARY KEY (gateway_id, consumer_id, registry_id),
    FOREIGN KEY (gateway_id, consumer_id) REFERENCES consumers (gateway_id, id) ON DELETE CASCADE,
    FOREIGN KEY (gateway_id, registry_id) REFERENCES registries (gateway_id, id) ON DELETE CASCADE
);
CREATE INDEX consumer_registries_in_order ON consumer_registries (consumer_id, position);
CREATE INDEX consumer_registries_held ON consumer_registries (registry_id, gateway_id);

CREATE TABLE consumer_auths (
    gateway_id TEXT NOT NULL,
    consumer_id TEXT NOT NULL,
    auth_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    CONSTRAINT consumer_auths__gateway_id__consumer_id__auth_id
        PRIMARY KEY (gateway_id, consumer_id, auth_id),
    FOREIGN KEY (gateway_id, consumer_id) REFERENCES consumers (gateway_id, id) ON DELETE CASCADE,
    FOREIGN KEY (gateway_id, auth_id) REFERENCES auths (gateway_id, id) ON DELETE CASCADE
);
CREATE INDEX consumer_auths_in_order ON consumer_auths (consumer_id, position);
CREATE INDEX consumer_auths_held ON consumer_auths (auth_id, gateway_id);

CREATE TABLE consumer_policies (
    gateway_id TEXT NOT NULL,
    policy_id TEXT NOT NULL,
    consumer_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    CONSTRAINT consumer_policies__gateway_id__policy_id__consumer_id
        PRIMARY KEY (gateway_id, policy_id, consumer_id),
    FOREIGN KEY (gateway_id, policy_id) REFERENCES policies (gateway_id, id) ON DELETE CASCADE,
    FOREIGN KEY (gateway_id, consumer_id) REFERENCES consumers (gateway_id, id) ON DELETE CASCADE
);
CREATE INDEX consumer_policies_in_order ON consumer_policies (policy_id, position);
CREATE INDEX consumer_policies_held ON consumer_policies (consumer_id, gateway_id);

-- Every write makes a new revision; the log says which entities it touched. `pruned` is the newest revision whose rows
-- may be gone from the log.

CREATE TABLE config_revision (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    revision BIGINT NOT NULL,
    pruned BIGINT NOT NULL
);
INSERT INTO config_revision (id, revision, pruned) VALUES (1, 0, 0);

CREATE TABLE config_changes (
    revision BIGINT NOT NULL,
    entity TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    gateway_id TEXT NOT NULL,
    PRIMARY KEY (revision, entity, entity_id)
);
