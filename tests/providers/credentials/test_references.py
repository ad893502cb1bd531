"""References: what may be read, what may not, and that a refusal gives nothing away."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from trustgate.config.records import ApiKeyAuth, OAuth2Auth, ProviderAuth
from trustgate.providers.credentials import BadCredential, resolved_key
from trustgate.providers.credentials.references import is_reference, refers, resolve, resolved, secrets_of
from trustgate.settings import References, own_variables, read_settings

SECRET = "the-secret-itself"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that files may lie in, and a secret beside it."""
    monkeypatch.chdir(tmp_path)
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "outside").write_text(SECRET)
    yield inside


def of(environ: dict[str, str]) -> References:
    """The references of a process with that environment."""
    return read_settings(environ).references


def refused(text: str, references: References) -> str:
    """The message of a refusal."""
    with pytest.raises(BadCredential) as told:
        resolve(text, references)
    assert SECRET not in str(told.value)
    return str(told.value)


# Variables.


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "TRUSTGATE_CREDENTIAL_X"])
def test_a_variable(name: str) -> None:
    assert resolve(f"env:{name}", of({name: f" {SECRET}\n"})) == SECRET


def test_what_is_no_reference_is_itself() -> None:
    for text in ("", "sk-1", "environment", "ENV:X", " env:X"):
        assert resolve(text, of({})) == text
        assert not is_reference(text)


@pytest.mark.parametrize(
    "name",
    [
        *("SERVER_SECRET_KEY", "SERVER_API_KEY", "DB_PASSWORD", "DB_API_KEY", "REDIS_PASSWORD", "REDIS_API_KEY"),
        *("OPENAI_API_KEY", "HTTPS_PROXY", "http_proxy", "db_password", "PATH", "", "A*", "../x", "A_API_KEY B"),
    ],
)
@pytest.mark.parametrize("allowed", ["", "*", "SERVER_*,DB_*,REDIS_*,OPENAI_API_KEY,*PROXY,*proxy"])
def test_what_is_ours_may_never_be_read_and_other_things_only_when_allowed(name: str, allowed: str) -> None:
    ours = name in own_variables() or name.upper().startswith(("SERVER_", "DB_", "REDIS_"))
    value = f"http://{SECRET}:1" if name.lower().endswith("proxy") else SECRET.ljust(32, "x")
    references = of({name: value, "CREDENTIAL_ENV_ALLOWED": allowed})
    if not ours and allowed == "*":
        assert resolve(f"env:{name}", references).startswith(SECRET) if name else True
        return
    said = refused(f"env:{name}", references)
    assert f"env:{name} may not be referred to: CREDENTIAL_ENV_ALLOWED" in said
    assert said == refused(f"env:{name}", of({"CREDENTIAL_ENV_ALLOWED": allowed}))  # set or not: the same words


def test_each_of_our_variables_is_ours() -> None:
    names = {"SERVER_SECRET_KEY", "DB_PASSWORD", "OPENAI_API_KEY", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "APP_ENV"}
    assert names < own_variables()
    references = of({"CREDENTIAL_ENV_ALLOWED": "*"})
    assert not [name for name in own_variables() if references.may_read(name)]


def test_the_operator_says_which_names() -> None:
    references = of({"CREDENTIAL_ENV_ALLOWED": "ACME_*, ONE", "ACME_X": "1", "ONE": "2", "A_API_KEY": SECRET})
    assert (resolve("env:ACME_X", references), resolve("env:ONE", references)) == ("1", "2")
    assert "(ACME_*, ONE)" in refused("env:A_API_KEY", references)
    assert dict(references.variables) == {"ACME_X": "1", "ONE": "2"}  # nothing else is kept at all


def test_a_variable_that_is_not_set() -> None:
    assert refused("env:A_API_KEY", of({"A_API_KEY": "  "})) == "env:A_API_KEY is not set where the gateway runs"


def test_values_are_not_shown() -> None:
    assert SECRET not in repr(read_settings({"A_API_KEY": SECRET}))


# Files.


def test_a_file_and_its_change(folder: Path) -> None:
    references = of({"CREDENTIAL_FILE_DIR": str(folder)})
    (folder / "key").write_text(f"{SECRET}\n")
    assert resolve(f"file:{folder}/key", references) == SECRET
    (folder / "key").write_text("another")
    assert resolve(f"file:{folder}/key", references) == "another"


def test_no_files_unless_there_is_a_folder(folder: Path) -> None:
    (folder / "key").write_text(SECRET)
    assert "set CREDENTIAL_FILE_DIR" in refused(f"file:{folder}/key", of({}))


def test_files_as_kubernetes_mounts_them(folder: Path) -> None:
    (folder / "..1").mkdir()
    (folder / "..1" / "key").write_text(SECRET)
    (folder / "..data").symlink_to("..1")
    (folder / "key").symlink_to("..data/key")
    assert resolve(f"file:{folder}/key", of({"CREDENTIAL_FILE_DIR": str(folder)})) == SECRET


def test_outside_is_outside_whether_something_is_there_or_not(folder: Path) -> None:
    references = of({"CREDENTIAL_FILE_DIR": str(folder)})
    (folder / "link").symlink_to(folder.parent / "outside")
    (folder / "dead").symlink_to(folder.parent / "nothing")
    (folder / "up").symlink_to(folder.parent)
    (folder / "loop").symlink_to(folder / "loop")
    (folder.parent / "inside-not").mkdir()
    (folder.parent / "inside-not" / "key").write_text(SECRET)
    for path in (
        *("/etc/passwd", "/etc/nothing", f"{folder}/../outside", f"{folder}/../nothing", f"{folder}-not/key"),
        *(f"{folder}/link", f"{folder}/dead", f"{folder}/up/outside", "inside/key", "", f"{folder}/\0"),
        folder.name + "/" + "x" * 5000,
    ):
        said = refused(f"file:{path}", references)
        assert said == f"file:{path[:200]} does not lie below CREDENTIAL_FILE_DIR of the gateway"
    assert "file:" in refused(f"file:{folder}/loop", references)


def test_what_is_no_secret(folder: Path) -> None:
    references = of({"CREDENTIAL_FILE_DIR": str(folder)})
    (folder / "empty").write_text(" \n")
    (folder / "large").write_text("x" * 65537)
    (folder / "binary").write_bytes(b"\xff\xfe")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")  # nobody writes into it: opening it must not wait
    for name, says in (
        ("nothing", "cannot be read (No such file or directory)"),
        ("empty", "is empty"),
        ("large", "is larger than 64 KiB"),
        ("binary", "is no text in UTF-8"),
        ("pipe", "is no file"),
        ("folder", "file:"),
    ):
        assert says in refused(f"file:{folder}/{name}", references)


# Blocks.


def test_every_secret_of_a_block_is_looked_up_and_nothing_else() -> None:
    references = of({"A_API_KEY": "a", "B_API_KEY": "b"})
    block = OAuth2Auth(
        token_url="env:A_API_KEY",
        grant_type="client_credentials",
        client_id="env:A_API_KEY",
        client_secret="env:B_API_KEY",
        extra={"x": "env:A_API_KEY", "y": "plain"},
    )
    found = resolved(block, references, "auth.oauth")
    assert (found.token_url, found.client_id) == ("env:A_API_KEY", "env:A_API_KEY")
    assert (found.client_secret, found.extra) == ("b", {"x": "a", "y": "plain"})
    assert refers(block)
    assert not refers(found)
    assert secrets_of(ApiKeyAuth) == ("api_key", "header_value", "param_value", "keys")


def test_the_field_is_named() -> None:
    auth = ProviderAuth(type="api_key", api_key=ApiKeyAuth(api_key="env:NONE_API_KEY"))
    with pytest.raises(BadCredential, match=r"^auth\.api_key\.api_key: env:NONE_API_KEY is not set"):
        resolved_key(auth, of({}))
    extra = OAuth2Auth(token_url="x", grant_type="password", extra={"otp": "env:NONE_API_KEY"})
    with pytest.raises(BadCredential, match=r"^auth\.oauth\.extra\.otp: env:NONE_API_KEY is not set"):
        resolved(extra, of({}), "auth.oauth")
