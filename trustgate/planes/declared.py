"""A gateway as a file: `trustgate apply` makes it so, `trustgate export` writes it down.

Everything goes through the admin API, so that a file is checked as any other caller is. Things are known by their
names; where the API has the id of a registry a file has its name. What a file does not mention stays as it is.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import httpx
import msgspec
from msgspec import Struct

from trustgate.planes.admin.masking import MARK

Json = dict[str, Any]
Sign = Literal["+", "~", "-", "?"]
KINDS: Final = ("registries", "auths", "policies", "consumers")
"""In the order in which they are made; they are removed in the other."""
LISTED: Final = ("gateway", *KINDS)
READ_ONLY: Final = frozenset(
    (
        *("id", "gateway_id", "created_at", "updated_at", "version", "hosts", "tenant_id", "consumer_ids", "stages"),
        *("registry_ids", "registry_weights", "auth_ids", "role_ids", "key_prefix", "key_suffix", "config"),
    )
)
WORDS: Final = {"registries": "registry", "auths": "auth", "policies": "policy", "consumers": "consumer"}
APART: Final = {"consumers": ("auths", "policies"), "policies": ("global",), "registries": (), "auths": ()}
"""What has calls of its own."""
PAGE: Final = 200


class BadFile(Exception):
    """The file, or something in it, cannot be; the message says what and where."""


class Step(Struct, frozen=True, kw_only=True):
    """One thing that differs: `+` is made, `~` changed, `-` removed, `?` is there and not in the file."""

    sign: Sign
    kind: str
    name: str
    fields: Sequence[str] = ()
    said: str = ""

    def __str__(self) -> str:
        """Return it as a line of a plan."""
        about = f": {', '.join(self.fields)}" if self.fields else ""
        return f"{self.sign} {self.kind} {self.name}{about}{self.said}"


class Api:
    """The admin API of one installation."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def call(self, method: str, path: str, body: object = None, **query: str) -> Any:
        """Return what a call answers. Raises BadFile with what it says is wrong."""
        content = b"" if body is None else msgspec.json.encode(body)
        headers = {"content-type": "application/json"}
        try:
            told = await self._client.request(method, path, params=query, content=content, headers=headers)
        except httpx.HTTPError as error:
            raise BadFile(f"the admin API cannot be reached ({type(error).__name__}): is --url right?") from error
        if told.is_success:
            return told.json() if told.content else None
        try:
            said = told.json().get("message") or told.json().get("error")
        except ValueError:
            said = told.text[:200]
        raise BadFile(f"{method} {path}: {told.status_code} {said}")

    async def all(self, path: str, **query: str) -> list[Json]:
        """Return every item of a list."""
        found: list[Json] = []
        while True:
            page = await self.call("GET", path, page=str(len(found) // PAGE + 1), size=str(PAGE), **query)
            found += page["items"]
            if len(page["items"]) < PAGE:
                return found


class Gateway:
    """One gateway as it is: its own fields, and what is in it by kind and name."""

    def __init__(self, view: Json | None, parts: Mapping[str, Mapping[str, Json]]) -> None:
        self.view = view
        self.parts = parts

    @property
    def path(self) -> str:
        """Where it is."""
        assert self.view is not None, "it was made"
        return f"/v1/gateways/{self.view['id']}"

    def names(self, kind: str) -> Mapping[str, str]:
        """Return names by id."""
        return {view["id"]: name for name, view in self.parts[kind].items()}


async def read(api: Api, slug: str) -> Gateway:
    """Return a gateway as it is; without a view where there is none of that slug."""
    found = [each for each in await api.all("/v1/gateways", slug=slug) if each["slug"] == slug]
    if not found:
        return Gateway(None, {kind: {} for kind in KINDS})
    root = f"/v1/gateways/{found[0]['id']}"
    parts = {kind: {view["name"]: view for view in await api.all(f"{root}/{kind}")} for kind in KINDS}
    return Gateway(found[0], parts)


def export(gateway: Gateway) -> Json:
    """Return a gateway as a file has it. Secrets are masked, and stay as they are where the file is applied."""
    assert gateway.view is not None, "there is something to export"
    registries, auths = gateway.names("registries"), gateway.names("auths")
    file: Json = {"gateway": _writable(gateway.view)}
    for kind in KINDS:
        entries = [_writable(view) for _, view in sorted(gateway.parts[kind].items())]
        if entries:
            file[kind] = entries
    for entry in file.get("consumers", ()):
        view = gateway.parts["consumers"][entry["name"]]
        weights = {each["registry_id"]: each["weight"] for each in view.get("registry_weights", ())}
        entry["registries"] = [
            {"name": registries[each], **({"weight": weights[each]} if each in weights else {})}
            for each in view["registry_ids"]
        ]
        entry["auths"] = sorted(auths[each] for each in view["auth_ids"])
        entry["policies"] = sorted(
            name for name, policy in gateway.parts["policies"].items() if view["id"] in policy["consumer_ids"]
        )
        entry |= {key: _named(value, registries) for key, value in entry.items() if key not in ("registries", "auths")}
    return file


def checked(file: Any) -> Json:
    """Return the file if it has the form of one. Raises BadFile."""
    if not isinstance(file, dict):
        raise BadFile("the file is no object with `gateway`, `registries`, `auths`, `policies` and `consumers`")
    if unknown := sorted(file.keys() - set(LISTED)):
        raise BadFile(f"the file has {unknown[0]}, which is nothing here: there are {', '.join(LISTED)}")
    gateway = file.get("gateway")
    if not isinstance(gateway, dict) or not isinstance(gateway.get("slug"), str):
        raise BadFile("gateway.slug is missing: it says which gateway this is")
    for kind in KINDS:
        entries = file.get(kind, [])
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            raise BadFile(f"{kind} is no list of objects")
        names = [each.get("name") for each in entries]
        for at, name in enumerate(names):
            if not isinstance(name, str) or not name:
                raise BadFile(f"{kind}[{at}].name is missing")
            if names.index(name) < at:
                raise BadFile(f"{kind} has two of the name {name}")
    return file


async def apply(api: Api, file: Json, *, dry: bool, prune: bool) -> AsyncIterator[Step]:
    """Make a gateway as a file has it, and yield each thing that differs before it is made so. Raises BadFile."""
    slug = file["gateway"]["slug"]
    gateway = await read(api, slug)
    if gateway.view is None:
        yield Step(sign="+", kind="gateway", name=slug)
        gateway.view = {"id": ""} if dry else await api.call("POST", "/v1/gateways", file["gateway"])
    elif fields := _differing(file["gateway"], gateway.view):
        yield Step(sign="~", kind="gateway", name=slug, fields=fields)
        if not dry:
            await api.call("PUT", gateway.path, file["gateway"])
    ids: dict[str, dict[str, str]] = {
        kind: {name: view["id"] for name, view in gateway.parts[kind].items()} for kind in KINDS
    }
    for kind in KINDS:
        for entry in file.get(kind, ()):
            async for step in _make(api, gateway, kind, entry, ids, dry=dry):
                yield step
    for kind in reversed(KINDS):
        wanted = {each["name"] for each in file.get(kind, ())}
        for name in sorted(gateway.parts[kind].keys() - wanted):
            yield Step(sign="-" if prune else "?", kind=WORDS[kind], name=name)
            if prune and not dry:
                await api.call("DELETE", f"{gateway.path}/{kind}/{gateway.parts[kind][name]['id']}")


async def _make(
    api: Api, gateway: Gateway, kind: str, entry: Json, ids: dict[str, dict[str, str]], *, dry: bool
) -> AsyncIterator[Step]:
    """Make one thing as the file has it, with what is attached to it."""
    name, word = entry["name"], WORDS[kind]
    body = {key: value for key, value in entry.items() if key not in APART[kind]}
    if kind == "consumers":
        body = _with_ids(body, ids["registries"], f"consumer {name}")
    known = gateway.parts[kind].get(name)
    if known is None:
        yield Step(sign="+", kind=word, name=name)
        made = {"id": ""} if dry else await api.call("POST", f"{gateway.path}/{kind}", body)
        ids[kind][name] = made["id"]
        if made.get("api_key"):
            yield Step(sign="+", kind="key of", name=name, said=f": {made['api_key']} (shown once)")
    elif fields := _differing(body, _comparable(kind, known)):
        yield Step(sign="~", kind=word, name=name, fields=fields)
        if not dry:
            await api.call("PUT", f"{gateway.path}/{kind}/{known['id']}", body)
    if "global" in entry and bool(entry["global"]) != bool(known and known["global"]):
        everybody = bool(entry["global"])
        said = ": put every consumer under it" if everybody else ": put no longer every consumer under it"
        yield Step(sign="~", kind=word, name=name, said=said)
        if not dry:
            await api.call("POST" if everybody else "DELETE", f"{gateway.path}/policies/{ids[kind][name]}/global")
    if kind == "consumers":
        for step, method, path in _attachments(gateway, entry, known, ids):
            yield step
            if not dry:
                await api.call(method, f"{gateway.path}/consumers/{ids[kind][name]}/{path}")


def _attachments(
    gateway: Gateway, entry: Json, known: Json | None, ids: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[Step, str, str]]:
    """Yield what is to be attached to a consumer and what is to be detached, with the call that does it."""
    name = entry["name"]
    for kind in ("auths", "policies"):
        if kind not in entry:
            continue
        for each in entry[kind]:
            if each not in ids[kind]:
                raise BadFile(f"consumer {name}: {kind} has {each}, which is no {WORDS[kind]} of this gateway or file")
        wanted = {ids[kind][each]: each for each in entry[kind]}
        names = gateway.names(kind)
        if known is None:
            there: set[str] = set()
        elif kind == "auths":
            there = set(known["auth_ids"])
        else:
            there = {view["id"] for view in gateway.parts["policies"].values() if known["id"] in view["consumer_ids"]}
        for id_, each in wanted.items():
            if id_ not in there or not id_:
                said = f": attach {WORDS[kind]} {each}"
                yield Step(sign="~", kind="consumer", name=name, said=said), "POST", f"{kind}/{id_}"
        for id_ in sorted(there - wanted.keys()):
            said = f": detach {WORDS[kind]} {names.get(id_, id_)}"
            yield Step(sign="~", kind="consumer", name=name, said=said), "DELETE", f"{kind}/{id_}"


def _comparable(kind: str, view: Json) -> Json:
    """Return what is there in the form in which it is sent."""
    if kind != "consumers":
        return view
    weights = {each["registry_id"]: each["weight"] for each in view.get("registry_weights", ())}
    bound = [{"id": each, "weight": weights.get(each, 1)} for each in view["registry_ids"]]
    return view | {"registries": bound}


def _differing(wanted: Json, there: Json) -> list[str]:
    """Return the fields of what is wanted that are otherwise."""
    return sorted(key for key, value in wanted.items() if key != "tenant_id" and not _within(value, there.get(key)))


def _within(wanted: Any, there: Any) -> bool:
    """Whether what is there says what is wanted; what it says besides are defaults. A masked secret is compared by what
    is shown of it."""
    if isinstance(wanted, dict):
        there = there or {}
        return isinstance(there, dict) and all(_within(item, there.get(key)) for key, item in wanted.items())
    if isinstance(wanted, list):
        there = there or []
        return len(wanted) == len(there) and all(map(_within, wanted, there))
    if isinstance(there, str) and there.startswith(MARK) and isinstance(wanted, str):
        return wanted == there or wanted.endswith(there.removeprefix(MARK))
    return bool(wanted == there) or (there is None and wanted in ("", 0, False))


def _writable(view: Json) -> Json:
    return {key: value for key, value in view.items() if key not in READ_ONLY}


def _with_ids(value: Any, ids: Mapping[str, str], path: str) -> Any:
    """Put ids in the place of the names of registries."""

    def of(name: Any) -> str:
        if name not in ids:
            raise BadFile(f"{path}: {name} is no registry of this gateway or file")
        return ids[name]

    def bound(part: Any) -> Any:
        entry = {"name": part} if isinstance(part, str) else part
        return {"id": of(entry["name"])} | {key: item for key, item in entry.items() if key != "name"}

    def walk(part: Any, key: str = "") -> Any:
        if isinstance(part, dict):
            return dict(_renamed(part, "registry", "registry_id", of, walk))
        if isinstance(part, list):
            return [of(each) if key == "chain" else bound(each) if key == "registries" else walk(each) for each in part]
        return part

    return walk(value)


def _named(value: Any, names: Mapping[str, str], key: str = "") -> Any:
    """Put the names of registries in the place of their ids."""
    if isinstance(value, dict):
        return dict(
            _renamed(value, "registry_id", "registry", names.__getitem__, lambda part, of: _named(part, names, of))
        )
    if isinstance(value, list | tuple):
        return [names[each] for each in value] if key == "chain" else [_named(each, names, key) for each in value]
    return value


def _renamed(
    value: Mapping[str, Any], old: str, new: str, of: Callable[[Any], str], walk: Callable[[Any, str], Any]
) -> Iterator[tuple[str, Any]]:
    """Yield the fields of an object; the one that names a registry under its other name."""
    for key, item in value.items():
        yield (new, of(item)) if key == old else (key, walk(item, key))
