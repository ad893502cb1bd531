-- Events out of Kafka; the same statements as in docs/clickhouse.md, which says what they do.

CREATE TABLE requests_queue (raw String)
ENGINE = Kafka
SETTINGS kafka_broker_list = 'kafka:9092', kafka_topic_list = 'trustgate.requests',
         kafka_group_name = 'clickhouse', kafka_format = 'JSONAsString', kafka_num_consumers = 1;

CREATE TABLE requests
(
    trace_id          String,
    timestamp         DateTime64(3, 'UTC'),
    gateway_id        LowCardinality(String),
    gateway           LowCardinality(String),
    consumer          LowCardinality(String),
    operation         LowCardinality(String),
    provider          LowCardinality(String),
    model             LowCardinality(String),
    status            UInt16,
    reason            LowCardinality(String),
    complete          Bool,
    flagged           Bool,
    input_tokens      UInt64,
    output_tokens     UInt64,
    cached_tokens     UInt64,
    cost_usd          Decimal(38, 18),
    total_ms          Float64,
    provider_ms       Float64,
    gateway_ms        Float64,
    attempts          UInt8,
    event             String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (gateway_id, toDate(timestamp), trace_id)
TTL toDateTime(timestamp) + INTERVAL 90 DAY;

CREATE MATERIALIZED VIEW requests_reader TO requests AS
SELECT
    JSONExtractString(raw, 'trace_id') AS trace_id,
    fromUnixTimestamp64Milli(JSONExtractInt(raw, 'occurred_on'), 'UTC') AS timestamp,
    JSONExtractString(raw, 'gateway_id') AS gateway_id,
    JSONExtractString(raw, 'gateway_slug') AS gateway,
    JSONExtractString(raw, 'consumer', 'slug') AS consumer,
    JSONExtractString(raw, 'request', 'operation') AS operation,
    JSONExtractString(raw, 'request', 'provider') AS provider,
    JSONExtractString(raw, 'request', 'model') AS model,
    JSONExtractUInt(raw, 'status', 'code') AS status,
    JSONExtractString(raw, 'status', 'reason') AS reason,
    JSONExtractBool(raw, 'response', 'complete') AS complete,
    JSONExtractBool(raw, 'is_flagged') AS flagged,
    JSONExtractUInt(raw, 'usage', 'prompt_tokens') AS input_tokens,
    JSONExtractUInt(raw, 'usage', 'completion_tokens') AS output_tokens,
    JSONExtractUInt(raw, 'usage', 'cached_input_tokens') AS cached_tokens,
    toDecimal128OrZero(JSONExtractString(raw, 'cost', 'total_usd'), 18) AS cost_usd,
    JSONExtractFloat(raw, 'latency', 'total_ms') AS total_ms,
    JSONExtractFloat(raw, 'latency', 'provider_ms') AS provider_ms,
    JSONExtractFloat(raw, 'latency', 'gateway_ms') AS gateway_ms,
    JSONLength(raw, 'attempts') AS attempts,
    raw AS event
FROM requests_queue;
