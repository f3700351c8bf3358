"""deploy/kubernetes: composed, valid by the schemas of Kubernetes, and consistent."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from node.options import NodeOptions
from quorate import __version__
from quorate.cli.processes import parse_member
from tests.deploy.commands import certificate_of, check_options
from tests.deploy.kustomize import Document, build, containers, pod_spec

KUBERNETES = Path(__file__).resolve().parents[2] / "deploy/kubernetes"
OVERLAYS: Final = ("dev", "three-zones")

VERSIONS: Final = ("1.29", "1.37")
"""The oldest Kubernetes that the manifests are for, and the newest whose schemas are at hand."""

ZONE: Final = "topology.kubernetes.io/zone"


@cache
def overlay(name: str) -> tuple[Document, ...]:
    return tuple(build(KUBERNETES / "overlays" / name))


def of_kind(name: str, kind: str) -> list[Document]:
    return [document for document in overlay(name) if document["kind"] == kind]


def one(name: str, kind: str, called: str) -> Document:
    (found,) = [each for each in of_kind(name, kind) if each["metadata"]["name"] == called]
    return found


def processes(name: str) -> list[Document]:
    """Return the workloads of nodes and routers."""
    workloads = [document for document in overlay(name) if pod_spec(document)]
    return [each for each in workloads if each["metadata"]["name"] != "admin"]


def labels(document: Document) -> dict[str, str]:
    found: dict[str, str] = document["spec"]["template"]["metadata"]["labels"]
    return found


def selects(selector: dict[str, str], document: Document) -> bool:
    return selector.items() <= labels(document).items()


def environment(name: str, document: Document) -> dict[str, str]:
    """Return what the variables of a workload's pod 0 are, where they are known before."""
    pod = f"{document['metadata']['name']}-0"
    known = {"metadata.name": pod, "metadata.namespace": document["metadata"]["namespace"]}
    container = pod_spec(document)["containers"][0]  # type: ignore[index]
    values = {
        each["name"]: each["value"]
        if "value" in each
        else known.get(each["valueFrom"]["fieldRef"]["fieldPath"], "unknown")
        for each in container["env"]
    }
    for source in container.get("envFrom", ()):
        values |= one(name, "ConfigMap", source["configMapRef"]["name"])["data"]
    return values


def options_of(name: str, document: Document) -> dict[str, list[str]]:
    """Return the options of a workload's first container, with variables filled in."""
    values = environment(name, document)
    command, *arguments = pod_spec(document)["containers"][0]["args"]  # type: ignore[index]
    filled = [re.sub(r"\$\((\w+)\)", lambda m: values[m[1]], each) for each in arguments]
    return check_options(command, filled)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", OVERLAYS)
def test_every_document_is_valid(name: str, version: str) -> None:
    for document in overlay(name):
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("name", OVERLAYS)
def test_kustomize_composes_the_same(name: str) -> None:
    command = ["kubectl", "kustomize", str(KUBERNETES / "overlays" / name)]
    rendered = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def by_name(documents: Any) -> dict[tuple[str, str], Document]:
        return {(each["kind"], each["metadata"]["name"]): each for each in documents}

    assert by_name(overlay(name)) == by_name(yaml.safe_load_all(rendered))


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_nodes_are_the_members_that_all_know(name: str) -> None:
    nodes = of_kind(name, "StatefulSet")
    service = one(name, "Service", "nodes")
    assert len(nodes) == 3
    assert len({options_of(name, node)["--az"][0] for node in nodes}) == 3
    for node in nodes:
        said = options_of(name, node)
        options = NodeOptions(
            name=said["--name"][0],
            az=said["--az"][0],
            listen=said["--listen"][0],
            data_dir=Path(said["--data-dir"][0]),
            cluster_id=said["--cluster-id"][0],
            members=tuple(parse_member(text) for text in said["--member"]),
            cluster_paths=certificate_of(said),
        )
        assert options.problem() is None
        assert options.name == f"{node['metadata']['name']}-0"
        assert options.address() == f"{options.name}.{node['spec']['serviceName']}:7400"
        assert node["spec"]["serviceName"] == service["metadata"]["name"]
        assert node["spec"]["replicas"] == 1
        (mount,) = [m for m in containers(node)[0]["volumeMounts"] if m["name"] == "data"]
        assert options.data_dir.is_relative_to(mount["mountPath"])
        assert [claim["metadata"]["name"] for claim in node["spec"]["volumeClaimTemplates"]] == [
            "data"
        ]


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_controller_takes_two_nodes_at_once(name: str) -> None:
    """What drains may do is in test_disruptions.py."""
    for node in of_kind(name, "StatefulSet"):
        assert node["spec"]["updateStrategy"] == {"type": "OnDelete"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_nodes_are_found_before_they_are_ready(name: str) -> None:
    service = one(name, "Service", "nodes")["spec"]

    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"] is True


@pytest.mark.parametrize("name", OVERLAYS)
def test_each_workload_has_its_own_pods(name: str) -> None:
    workloads = [document for document in overlay(name) if pod_spec(document)]
    for workload in workloads:
        selector = workload["spec"]["selector"]["matchLabels"]
        assert [other for other in workloads if selects(selector, other)] == [workload]


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_is_selected_and_named_is_there(name: str) -> None:
    workloads = [document for document in overlay(name) if pod_spec(document)]
    for service in of_kind(name, "Service"):
        chosen = [each for each in workloads if selects(service["spec"]["selector"], each)]
        assert chosen
        for workload in chosen:
            ports = {port["name"]: port["containerPort"] for port in ports_of(workload)}
            for port in service["spec"]["ports"]:
                assert ports[port["targetPort"]] == port["port"]
    for policy in of_kind(name, "NetworkPolicy"):
        (chosen,) = [
            [each for each in workloads if selects(peer["matchLabels"], each)]
            for peer in [policy["spec"]["podSelector"]]
        ]
        names = {port["name"] for workload in chosen for port in ports_of(workload)}
        for rule in policy["spec"]["ingress"]:
            assert {port["port"] for port in rule["ports"]} <= names
    for workload in workloads:
        spec = pod_spec(workload)
        assert spec is not None
        claims = workload["spec"].get("volumeClaimTemplates", ())
        volumes = {volume["name"] for volume in spec["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in claims}
        for container in containers(workload):
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def ports_of(workload: Document) -> list[Document]:
    found: list[Document] = pod_spec(workload)["containers"][0].get("ports", [])  # type: ignore[index]
    return found


@pytest.mark.parametrize("name", OVERLAYS)
def test_ports_are_those_that_the_process_listens_on(name: str) -> None:
    options = {
        "StatefulSet": ("--listen", "--admin"),
        "Deployment": ("--http", "--grpc", "--admin"),
    }
    for workload in processes(name):
        said = options_of(name, workload)
        assert [port["containerPort"] for port in ports_of(workload)] == [
            int(said[option][0].rpartition(":")[2]) for option in options[workload["kind"]]
        ]


@pytest.mark.parametrize("name", OVERLAYS)
def test_probes_mean_what_they_say(name: str) -> None:
    """Alive is the process; ready is the node. A router is not taken away for a missing leader.

    Nor is it kept from a Service for one: a restarted router serves what has leaders.
    """
    paths = {
        "StatefulSet": {"startup": "/health", "liveness": "/health", "readiness": "/ready"},
        "Deployment": {"startup": "/serving", "liveness": "/health", "readiness": "/serving"},
    }
    for workload in processes(name):
        container = pod_spec(workload)["containers"][0]  # type: ignore[index]
        for probe, path in paths[workload["kind"]].items():
            assert container[f"{probe}Probe"]["httpGet"] == {"path": path, "port": "admin"}
            assert container[f"{probe}Probe"]["timeoutSeconds"] > 1
        stuck = container["livenessProbe"]
        assert stuck["periodSeconds"] * stuck["failureThreshold"] >= 30


@pytest.mark.parametrize("name", OVERLAYS)
def test_processes_have_time_to_end(name: str) -> None:
    for workload in processes(name):
        spec = pod_spec(workload)
        assert spec is not None
        assert spec["terminationGracePeriodSeconds"] >= 30


@pytest.mark.parametrize("name", OVERLAYS)
def test_containers_may_do_nothing_else(name: str) -> None:
    """What the namespace enforces, and a root file system that is only read."""
    (namespace,) = of_kind(name, "Namespace")
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    for workload in filter(pod_spec, overlay(name)):
        spec = pod_spec(workload)
        assert spec is not None
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 10001
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(workload):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["image"].endswith(f"quorate:{__version__}")
            assert quantity(container["resources"]["requests"]["memory"]) <= quantity(
                container["resources"]["limits"]["memory"]
            )
            assert "cpu" not in container["resources"]["limits"]


def quantity(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([KMG]i)", text).groups()  # type: ignore[union-attr]
    return int(number) << {"Ki": 10, "Mi": 20, "Gi": 30}[unit]


@pytest.mark.parametrize("name", OVERLAYS)
def test_only_nodes_and_routers_reach_nodes(name: str) -> None:
    policy = one(name, "NetworkPolicy", "nodes")["spec"]
    assert all(
        selects(policy["podSelector"]["matchLabels"], n) for n in of_kind(name, "StatefulSet")
    )
    who = {
        rule["ports"][0]["port"]: {
            peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
            for peer in rule["from"]
        }
        for rule in policy["ingress"]
    }
    assert who == {"grpc": {"node", "router", "admin"}, "admin": {"admin"}}


@pytest.mark.parametrize("name", OVERLAYS)
def test_each_process_has_its_own_certificate_and_no_other(name: str) -> None:
    """A Secret is mounted as it is: then a new one is seen, and its group alone may read it."""
    for workload in processes(name):
        called = workload["metadata"]["name"]
        spec = pod_spec(workload)
        assert spec is not None
        secrets = {each["name"]: each["secret"] for each in spec["volumes"] if "secret" in each}
        assert secrets["certs"] == {"secretName": f"quorate-cert-{called}", "defaultMode": 0o440}
        assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]
        said = options_of(name, workload)
        (mount,) = [
            each["mountPath"]
            for each in containers(workload)[-1]["volumeMounts"]
            if each["name"] == "certs"
        ]
        paths = certificate_of(said)
        found = (paths.ca, paths.certificate, paths.key)
        assert found == tuple(Path(mount) / each for each in ("ca.crt", "tls.crt", "tls.key"))


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_admin_is_there_when_asked_for_and_stays_until_sent_away(name: str) -> None:
    """Of the overlay's own image; its certificate is in no pod meanwhile."""
    admin = one(name, "Deployment", "admin")
    (container,) = containers(admin)
    told = {each["name"]: each["value"] for each in container["env"]}
    router = one(name, "Deployment", "router")

    assert admin["spec"]["replicas"] == 0
    assert container["command"] == ["sleep", "infinity"]
    assert container["image"] == containers(router)[-1]["image"]
    assert told["QUORATE_NODES"].split() == options_of(name, router)["--node"]
    host, _, port = told["QUORATE_ADMIN_ENDPOINT"].partition(":")
    (face,) = one(name, "Service", host)["spec"]["ports"]
    assert (face["name"], face["port"]) == ("admin", int(port))
    spec = pod_spec(admin)
    assert spec is not None
    secrets = {each["name"]: each["secret"] for each in spec["volumes"] if "secret" in each}
    assert secrets == {"certs": {"secretName": "quorate-cert-admin", "defaultMode": 0o440}}


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_clients_service_does_not_lead_to_the_admin_face(name: str) -> None:
    ports = {port["name"] for port in one(name, "Service", "quorate")["spec"]["ports"]}

    assert ports == {"http", "grpc"}


@pytest.mark.parametrize(
    ("name", "word"), [("dev", "--insecure"), ("three-zones", "--require-auth")]
)
def test_an_overlay_says_who_may_call(name: str, word: str) -> None:
    said = options_of(name, one(name, "Deployment", "router"))

    assert {"--insecure", "--require-auth"} & set(said) == {word}
    assert said["--node"] == [f"node-{zone}-0.nodes:7400" for zone in "abc"]


def test_the_base_alone_lets_nobody_call() -> None:
    deployments = [each for each in build(KUBERNETES / "base") if each["kind"] == "Deployment"]
    (router,) = [each for each in deployments if each["metadata"]["name"] == "router"]

    assert not {"--insecure", "--require-auth"} & set(containers(router)[-1]["args"])


def test_the_key_is_readable_by_the_router_alone() -> None:
    router = one("three-zones", "Deployment", "router")
    copy, process = containers(router)
    (path,) = options_of("three-zones", router)["--key-file"]

    assert copy["command"] == ["install", "--mode=0600", "/run/secret/users.key", path]
    assert {"name": "key", "mountPath": "/run/quorate", "readOnly": True} in process["volumeMounts"]
    assert environment("three-zones", router)["QUORATE_KEY_FILE"] == path


def test_each_node_is_in_the_zone_that_it_says() -> None:
    for node in of_kind("three-zones", "StatefulSet"):
        spec = pod_spec(node)
        assert spec is not None
        assert spec["nodeSelector"] == {ZONE: options_of("three-zones", node)["--az"][0]}


def test_routers_are_spread_and_their_number_is_the_autoscalers() -> None:
    router = one("three-zones", "Deployment", "router")
    scaler = one("three-zones", "HorizontalPodAutoscaler", "router")["spec"]
    spec = pod_spec(router)

    assert spec is not None
    assert "replicas" not in router["spec"]
    assert scaler["scaleTargetRef"]["name"] == router["metadata"]["name"]
    assert scaler["minReplicas"] >= 3
    spreads = spec["topologySpreadConstraints"]
    assert [spread["topologyKey"] for spread in spreads] == [ZONE, "kubernetes.io/hostname"]
    for spread in spreads:
        assert selects(spread["labelSelector"]["matchLabels"], router)
        assert spread["matchLabelKeys"] == ["pod-template-hash"]


def test_the_autoscaler_aims_below_the_one_core_that_a_router_can_use() -> None:
    """Utilization is of what is asked for, and a router is one process of one busy core."""
    (process,) = pod_spec(one("three-zones", "Deployment", "router"))["containers"]  # type: ignore[index]
    (metric,) = one("three-zones", "HorizontalPodAutoscaler", "router")["spec"]["metrics"]
    cores = float(process["resources"]["requests"]["cpu"])
    target = cores * metric["resource"]["target"]["averageUtilization"] / 100

    assert 0.5 <= target <= 0.8
    assert options_of("three-zones", one("three-zones", "Deployment", "router"))[
        "--connection-age"
    ] == ["300"], "else new routers get no load from kept connections"


def test_monitors_select_services_and_name_the_jobs_of_the_rules() -> None:
    folder = KUBERNETES / "components/monitoring"
    monitors = yaml.safe_load_all((folder / "service-monitors.yaml").read_text())
    config = (KUBERNETES.parent / "prometheus/prometheus.yaml").read_text()
    jobs = {job["job_name"] for job in yaml.safe_load(config)["scrape_configs"]}
    services = of_kind("three-zones", "Service")

    for monitor in monitors:
        selector = monitor["spec"]["selector"]["matchLabels"]
        (service,) = [s for s in services if selector.items() <= s["metadata"]["labels"].items()]
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
        assert endpoint["relabelings"][0]["replacement"] in jobs
        assert endpoint["relabelings"][1]["targetLabel"] == "instance"
