-- How many records each gateway has of each kind, so that a list need not count them. It is written in the transaction
-- that makes or removes them. Gateways themselves are counted under no gateway.

CREATE TABLE totals (
    entity TEXT NOT NULL,
    gateway_id TEXT NOT NULL,
    total BIGINT NOT NULL,
    PRIMARY KEY (entity, gateway_id)
);

INSERT INTO totals SELECT 'gateway', '', COUNT(*) FROM gateways;
INSERT INTO totals SELECT 'registry', gateway_id, COUNT(*) FROM registries GROUP BY gateway_id;
INSERT INTO totals SELECT 'consumer', gateway_id, COUNT(*) FROM consumers GROUP BY gateway_id;
INSERT INTO totals SELECT 'auth', gateway_id, COUNT(*) FROM auths GROUP BY gateway_id;
INSERT INTO totals SELECT 'policy', gateway_id, COUNT(*) FROM policies GROUP BY gateway_id;
