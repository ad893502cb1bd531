"""What operators apply: manifests against Kubernetes' own schemas, Compose and Dockerfile by their linters, and all of
them against the program that they start."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from trustgate.settings import own_variables

ROOT = Path(__file__).parents[2]
OVERLAYS = ("dev", "prod")
OURS = ("trustgate-admin", "trustgate-proxy", "trustgate-mcp")
PORTS = {"admin": 8080, "proxy": 8081, "mcp": 8082}
NOT_BUILT_IN = {"HTTPRoute", "ServiceMonitor"}
Json = dict[str, Any]


@pytest.fixture(scope="module")
def overlays(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Json]]:
    """What `kubectl apply -k` would apply."""
    folder = tmp_path_factory.mktemp("k8s") / "k8s"
    shutil.copytree(ROOT / "k8s", folder)
    shutil.copy(folder / "overlays/prod/secrets.env.example", folder / "overlays/prod/secrets.env")
    found = {}
    for overlay in OVERLAYS:
        done = subprocess.run(
            ["kubectl", "kustomize", str(folder / "overlays" / overlay)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        found[overlay] = list(yaml.safe_load_all(done.stdout))
    return found


def of_kind(documents: list[Json], kind: str) -> dict[str, Json]:
    return {each["metadata"]["name"]: each for each in documents if each["kind"] == kind}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_manifest_is_what_kubernetes_takes(overlays: dict[str, list[Json]], overlay: str) -> None:
    kinds = set()
    for document in overlays[overlay]:
        kinds.add(document["kind"])
        if document["kind"] not in NOT_BUILT_IN:
            kubernetes_validate.validate(document, "1.32", strict=True)
    assert {"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "Job"} <= kinds
    assert (kinds >= NOT_BUILT_IN) == (overlay == "prod")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_plane_has_all_that_keeps_it_up(overlays: dict[str, list[Json]], overlay: str) -> None:
    documents = overlays[overlay]
    deployments, services = of_kind(documents, "Deployment"), of_kind(documents, "Service")
    autoscalers, budgets = of_kind(documents, "HorizontalPodAutoscaler"), of_kind(documents, "PodDisruptionBudget")
    for name in OURS:
        plane = name.removeprefix("trustgate-")
        labels = deployments[name]["spec"]["template"]["metadata"]["labels"]
        (container,) = deployments[name]["spec"]["template"]["spec"]["containers"]
        assert container["args"] == [plane]
        assert container["ports"] == [{"name": "http", "containerPort": PORTS[plane]}]
        assert services[name]["spec"]["selector"].items() <= labels.items()
        assert autoscalers[name]["spec"]["scaleTargetRef"]["name"] == name
        assert budgets[name]["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert container["lifecycle"]["preStop"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_are_as_a_restricted_namespace_wants_them(overlays: dict[str, list[Json]], overlay: str) -> None:
    documents = overlays[overlay]
    (namespace,) = of_kind(documents, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    workloads = [*of_kind(documents, "Deployment").values(), *of_kind(documents, "Job").values()]
    assert len(workloads) >= 4
    for each in workloads:
        pod = each["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            if each["metadata"]["name"].startswith("trustgate"):
                assert container["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_variable_that_is_set_is_read(overlays: dict[str, list[Json]], overlay: str) -> None:
    documents = overlays[overlay]
    (config,), (secret,) = (
        [each for name, each in of_kind(documents, kind).items() if name.startswith("trustgate-")]
        for kind in ("ConfigMap", "Secret")
    )
    assert set(config["data"]) | set(secret["data"]) <= own_variables()
    assert {"SERVER_SECRET_KEY", "DB_PASSWORD", "REDIS_PASSWORD"} <= set(secret["data"])
    assert not {"SERVER_SECRET_KEY", "DB_PASSWORD", "REDIS_PASSWORD"} & set(config["data"])


def test_a_pod_that_is_told_to_stop_has_the_time_that_its_requests_have(overlays: dict[str, list[Json]]) -> None:
    documents = overlays["prod"]
    (config,) = of_kind(documents, "ConfigMap").values()
    grace = int(config["data"]["SERVER_SHUTDOWN_GRACE"].removesuffix("s"))
    for name in OURS:
        pod = of_kind(documents, "Deployment")[name]["spec"]["template"]["spec"]
        pause = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
        assert pod["terminationGracePeriodSeconds"] >= grace + pause + 10


def test_the_dockerfile() -> None:
    done = subprocess.run([executable("hadolint"), "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_what_the_image_is_made_of_is_there_and_let_in() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    sources = [
        source for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE) for source in line.split()[:-1]
    ]
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in let_in, source


def test_the_compose_file() -> None:
    done = subprocess.run(
        ["npx", "--yes", "dclint@3.1.0", "--formatter", "json", "docker-compose.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)
    problems = [message for file in found for message in file["messages"] if message["type"] == "error"]
    # its rule wants ports on loopback, but a gateway is there to be reached; and one Dockerfile makes three services
    accepted = {"no-unbound-port-interfaces", "no-build-and-image"}
    assert [each for each in problems if each["rule"] not in accepted] == []


def compose() -> Json:
    loaded: Json = yaml.safe_load((ROOT / "docker-compose.yaml").read_text("utf-8"))
    return loaded


def test_compose_sets_what_is_read_and_waits_for_what_is_needed() -> None:
    services = compose()["services"]
    for name in ("admin", "proxy", "mcp"):
        service = services[name]
        assert set(service["environment"]) <= own_variables()
        assert service["command"] == [name]
        assert service["read_only"] is True
        for needed, how in service["depends_on"].items():
            condition = "service_completed_successfully" if needed == "migrate" else "service_healthy"
            assert how["condition"] == condition
            assert needed == "migrate" or "healthcheck" in services[needed]
    asked = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yaml").read_text("utf-8")))
    made = set(re.findall(r'say "(\w+)=\$\(random\)"', (ROOT / "scripts" / "install.sh").read_text("utf-8")))
    assert asked == made, "the installer makes every secret without which Compose does not start"


def test_what_is_mounted_is_there() -> None:
    def mounts() -> Iterator[str]:
        for service in compose()["services"].values():
            yield from (each.split(":")[0] for each in service.get("volumes", ()) if each.startswith("./"))

    found = list(mounts())
    assert found
    assert all((ROOT / each).is_file() for each in found)


def test_clickhouse_is_given_what_the_document_says() -> None:
    document = (ROOT / "docs" / "clickhouse.md").read_text("utf-8")
    given = (ROOT / "deploy" / "clickhouse.sql").read_text("utf-8")
    statements = re.findall(r"```sql\n(.*?)```", document, re.DOTALL)[0]
    assert given.endswith(statements)


def executable(name: str) -> str:
    """Return a program that a package brought into this environment."""
    return str(Path(sys.executable).with_name(name))
