"""Where a gateway's events go besides: checked as far as that goes without asking anybody."""

import re
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct, structs

from trustgate.config.records import Exporter, OtlpSettings, OtlpTls, Telemetry
from trustgate.contract.policy import seconds
from trustgate.planes.admin.services.auth_forms import kept
from trustgate.planes.admin.services.fields import checked_header, checked_secret
from trustgate.planes.admin.services.problems import invalid

MOST: Final = 8
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")


class ExporterForm(Struct, frozen=True, kw_only=True):
    """One Collector. Without a `type` its name is its type."""

    name: Annotated[str, Meta(description="Its name; one that all gateways have by default is replaced by its own.")]
    type: Annotated[str, Meta(description="`otlp`.")] = ""
    settings: dict[str, Any] = {}


class TelemetryForm(Struct, frozen=True, kw_only=True):
    """Where a gateway's events go besides; what is sent replaces what was there."""

    exporters: list[ExporterForm] | None = None


def checked_telemetry(form: TelemetryForm, stored: Telemetry, *, default: bool) -> Telemetry:
    """Return what a form says, its masked secrets as they are stored. Raises Refused.

    `default` is whether all gateways have a Collector, whose address one without an endpoint takes.
    """
    given = form.exporters or []
    if len(given) > MOST:
        raise invalid(f"telemetry.exporters has more than {MOST}")
    names = [each.name for each in given]
    if len(set(names)) < len(names):
        raise invalid("telemetry.exporters has two of the same name")
    before = {each.name: each for each in stored.exporters}
    made = [_exporter(at, each, before.get(each.name), default) for at, each in enumerate(given)]
    return Telemetry(exporters=tuple(made))


def _exporter(at: int, form: ExporterForm, stored: Exporter | None, default: bool) -> Exporter:
    path = f"telemetry.exporters[{at}]"
    if not _NAME.fullmatch(form.name):
        raise invalid(f"{path}.name must be lower-case letters, digits, - and _")
    kind = form.type or form.name
    if kind == "kafka":
        raise invalid(f"{path}: kafka is not an exporter of a gateway here: KAFKA_BROKERS sends every gateway's events")
    if kind != "otlp":
        raise invalid(f'invalid telemetry exporter: unknown exporter "{kind[:100]}": otlp is the type that there is')
    _check_known(f"{path}.settings", form.settings, OtlpSettings)
    _check_known(f"{path}.settings.tls", form.settings.get("tls"), OtlpTls)
    old = msgspec.to_builtins(stored.settings) if stored is not None else {}
    if old.get("endpoint") != form.settings.get("endpoint"):
        old = {}  # a stored secret is not sent to another place than it was given for
    try:
        settings = msgspec.convert(kept(OtlpSettings, form.settings, old, f"{path}.settings"), OtlpSettings)
    except msgspec.ValidationError as error:
        raise invalid(f"{path}.settings: {error}") from None
    _check(f"{path}.settings", settings, default)
    return Exporter(name=form.name, type="otlp", settings=settings)


def _check_known(path: str, given: Any, kind: type[Struct]) -> None:
    known = [field.encode_name for field in structs.fields(kind)]
    if isinstance(given, dict) and (unknown := sorted(given.keys() - set(known))):
        raise invalid(f"{path}: unknown field {unknown[0][:100]}; there are {', '.join(known)}")


def _check(path: str, settings: OtlpSettings, default: bool) -> None:
    _check_endpoint(f"{path}.endpoint", settings, default)
    for name, value in settings.headers.items():
        checked_header(f"{path}.headers", name)
        checked_secret(f"{path}.headers.{name}", value)
    try:
        timeout = seconds(settings.timeout)
    except ValueError:
        timeout = 0.0
    if not 0 < timeout <= 60:
        raise invalid(f"{path}.timeout must be a duration up to 60s, such as 10s")
    if not 64 <= settings.max_body_bytes <= 1 << 20:
        raise invalid(f"{path}.max_body_bytes must be 64 to 1048576")
    if settings.tls is not None:
        _check_tls(f"{path}.tls", settings, settings.tls)


def _check_endpoint(path: str, settings: OtlpSettings, default: bool) -> None:
    if not settings.endpoint:
        if not default:
            raise invalid(f"{path} is required: OTEL_EXPORTER_OTLP_ENDPOINT is not set either")
        return
    parts = urlsplit(settings.endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise invalid(f"{path} must be an address such as https://collector:4318")
    if settings.protocol == "grpc" and parts.path.strip("/"):
        raise invalid(f"{path} must have no path for grpc")
    if settings.insecure and parts.scheme == "https":
        raise invalid(f"{path} is https, and insecure says that it is not")


def _check_tls(path: str, settings: OtlpSettings, tls: OtlpTls) -> None:
    if settings.insecure:
        raise invalid(f"{path} and insecure exclude one another")
    if tls.skip_verify and settings.protocol != "http/protobuf":
        raise invalid(f"{path}.skip_verify needs protocol http/protobuf: gRPC always verifies, so give it a ca_file")
    if bool(tls.cert_file) != bool(tls.key_file):
        raise invalid(f"{path}.cert_file and {path}.key_file go together")
    for name in ("ca_file", "cert_file", "key_file"):
        file: str = getattr(tls, name)
        if file and not Path(file).is_file():
            raise invalid(f"{path}.{name} is no file on this machine")
