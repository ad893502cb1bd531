"""How the telling is put together: to whom the events of a process go, as its settings and its gateways say."""

from collections.abc import Mapping

from trustgate import __version__
from trustgate.config.records import OtlpSettings, OtlpTls
from trustgate.config.snapshot import Snapshot
from trustgate.contract.event import Sink
from trustgate.contract.policy import seconds
from trustgate.providers.prices import PriceBook
from trustgate.settings import Settings
from trustgate.telemetry.fanout import Fanout, add_fanout
from trustgate.telemetry.kafka import KafkaSink
from trustgate.telemetry.log import LogSink, open_log
from trustgate.telemetry.meters import Meters
from trustgate.telemetry.otel import Names
from trustgate.telemetry.otlp import OtlpPlace
from trustgate.telemetry.routes import Routes
from trustgate.variables import BadSetting


def make_kafka(settings: Settings, meters: Meters) -> KafkaSink | None:
    """Return what sends events to Kafka, where there is one."""
    if not settings.kafka.brokers or not settings.telemetry:
        return None
    sink = KafkaSink(settings.kafka, settings.data_dir / "spool")
    meters.gauge("trustgate_spool_bytes", "Bytes of events that wait on disk for Kafka.", lambda: sink.waiting)
    meters.gauge("trustgate_spool_oldest_seconds", "How long the oldest of them has waited.", lambda: sink.oldest)
    meters.counter("trustgate_spool_dropped_total", "Events lost because the spool was full.", lambda: sink.dropped)
    meters.counter("trustgate_kafka_refused_total", "Events that Kafka would not have.", lambda: sink.refused)
    return sink


def _collector(settings: Settings, own: OtlpSettings | None = None) -> OtlpPlace:
    """Return a Collector as the environment says, and as a gateway says otherwise."""
    usual = settings.otlp
    names: Names = "latest" if usual.latest_names else "1.36"
    if own is None:
        return OtlpPlace(
            endpoint=usual.endpoint,
            protocol=usual.protocol,
            signal="all",
            headers=usual.headers,
            insecure=usual.insecure,
            ca_file=usual.ca_file,
            timeout=usual.timeout,
            compression=usual.compression,
            names=names,
            version=version_of(settings),
        )
    tls = own.tls or OtlpTls()
    return OtlpPlace(
        endpoint=own.endpoint or usual.endpoint,
        protocol=own.protocol or usual.protocol,
        signal=own.signal,
        headers=tuple(sorted(own.headers.items())) if own.headers or own.endpoint else usual.headers,
        insecure=own.insecure,
        ca_file=tls.ca_file or ("" if own.endpoint else usual.ca_file),
        cert_file=tls.cert_file,
        key_file=tls.key_file,
        skip_verify=tls.skip_verify,
        timeout=seconds(own.timeout),
        compression=own.compression,
        max_bytes=own.max_body_bytes,
        names=names,
        version=version_of(settings),
    )


def make_routes(settings: Settings, meters: Meters) -> Routes:
    """Return what deals events out to Collectors."""
    defaults = {"otlp": _collector(settings)} if settings.otlp.endpoint and settings.telemetry else {}
    routes = Routes(defaults, settings.queue_size)
    meters.counter("trustgate_otlp_exported_total", "Events that Collectors have taken.", lambda: routes.delivered)
    meters.counter("trustgate_otlp_errors_total", "Batches that a Collector did not take.", lambda: routes.errors)
    meters.counter("trustgate_otlp_dropped_total", "Events lost because a Collector was away.", lambda: routes.dropped)
    return routes


def collectors(settings: Settings, snapshot: Snapshot) -> Mapping[str, Mapping[str, OtlpPlace]]:
    """Return the Collectors that gateways name, by the gateway's id and their own name."""
    return {
        gateway_id: {each.name: _collector(settings, each.settings) for each in tenant.gateway.telemetry.exporters}
        for gateway_id, tenant in snapshot.tenants.items()
        if tenant.gateway.telemetry is not None and settings.telemetry
    }


def _sinks(settings: Settings, kafka: KafkaSink | None, routes: Routes) -> Mapping[str, Sink]:
    found: dict[str, Sink] = {"otlp": routes}
    if kafka is not None:
        found["kafka"] = kafka
    if not settings.telemetry or settings.event_log == "none":
        return found
    try:
        return found | {"log": LogSink(open_log(settings.event_log))}
    except OSError as error:
        raise BadSetting(
            f"TELEMETRY_LOG is {settings.event_log}, which cannot be written ({error.strerror}): "
            "use stdout, stderr, none or a file that this user may write"
        ) from error


def make_fanout(
    settings: Settings, meters: Meters, prices: PriceBook, *, kafka: KafkaSink | None, routes: Routes
) -> Fanout:
    """Return what has every event told to all who hear of it."""
    fanout = Fanout(_sinks(settings, kafka, routes), settings.queue_size, observers=(meters.observe,), pricing=prices)
    meters.settle_with(fanout.settle)
    add_fanout(meters.registry, fanout)
    return fanout


def version_of(settings: Settings) -> str:
    """Return the version that this process says it is."""
    return settings.version or __version__
