"""deploy/kubernetes/components: each added to three-zones, all together, and what they change."""

from __future__ import annotations

import datetime
import runpy
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from quorate.security.cluster_certificate import ClusterPaths, load_cluster_certificate
from quorate.security.cluster_roles import Caller, Role
from tests.deploy.commands import check_options
from tests.deploy.kustomize import Document, build, containers, pod_spec

ROOT: Final = Path(__file__).resolve().parents[2]
KUBERNETES: Final = ROOT / "deploy/kubernetes"
COMPONENTS: Final = sorted(path.name for path in (KUBERNETES / "components").iterdir())

TOGETHER: Final = tuple(name for name in COMPONENTS if name not in {"gateway", "tls"})
"""A gateway ends TLS itself, and tls-cert-manager brings tls."""

OF_OTHERS: Final = ("cert-manager.io/", "gateway.networking.k8s.io/", "monitoring.coreos.com/")
"""Kinds that Kubernetes has no schema of."""

ANNOTATION_BYTES_MAX: Final = 262_144
"""Of all annotations of an object; `kubectl apply` keeps a copy of the object in one. Source:
Kubernetes, ValidateAnnotationsSize."""


def overlay(folder: Path, *components: str) -> Path:
    """Write an overlay of three-zones with components, in a folder beside the tree; return it."""
    up = Path(*[".."] * len(folder.resolve().parts[1:])) / KUBERNETES.relative_to("/")
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "quorate",
        "resources": [str(up / "overlays/three-zones")],
        "components": [str(up / "components" / name) for name in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(document))
    return folder


@pytest.fixture
def composed(tmp_path: Path) -> Any:
    """Return what kustomize makes of three-zones with components."""

    def compose(*components: str) -> list[Document]:
        return build(overlay(tmp_path, *components))

    return compose


def named(documents: list[Document], kind: str, name: str) -> Document:
    (found,) = [
        each for each in documents if each["kind"] == kind and each["metadata"]["name"] == name
    ]
    return found


@pytest.mark.parametrize("version", ["1.29", "1.37"])
@pytest.mark.parametrize("components", [TOGETHER, *[(name,) for name in COMPONENTS]])
def test_every_document_is_valid(composed: Any, components: tuple[str, ...], version: str) -> None:
    for document in composed(*components):
        if not document["apiVersion"].startswith(OF_OTHERS):
            kubernetes_validate.validate(document, version, strict=True)
        assert document["metadata"]["labels"] or document["kind"] == "Namespace"


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("components", [TOGETHER, ("gateway",), ("tls",)])
def test_kustomize_composes_the_same(tmp_path: Path, components: tuple[str, ...]) -> None:
    folder = overlay(tmp_path, *components)
    command = ["kubectl", "kustomize", str(folder)]
    rendered = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def by_name(documents: Any) -> dict[tuple[str, str], Document]:
        return {(each["kind"], each["metadata"]["name"]): each for each in documents}

    assert by_name(build(folder)) == by_name(yaml.safe_load_all(rendered))


def test_all_are_named_in_the_overlay_and_in_the_document() -> None:
    shown = (KUBERNETES / "overlays/three-zones/kustomization.yaml").read_text()
    told = (ROOT / "docs/DEPLOY.md").read_text()

    for name in TOGETHER:
        assert f"../../components/{name}\n" in shown
    for name in COMPONENTS:
        assert f"`{name}`" in told


# Monitoring


def test_rules_and_dashboards_are_those_that_we_have() -> None:
    """To mend it: .venv/bin/python packaging/monitoring.py."""
    made = runpy.run_path(str(ROOT / "packaging/monitoring.py"))["files"]()

    for path, text in made.items():
        assert path.read_text() == text, "run packaging/monitoring.py"


def test_rules_are_in_a_prometheus_rule_and_dashboards_in_config_maps(composed: Any) -> None:
    documents = composed("monitoring")
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules.yaml").read_text())

    assert named(documents, "PrometheusRule", "quorate")["spec"] == rules
    for path in (ROOT / "deploy/grafana/dashboards").glob("*.json"):
        found = named(documents, "ConfigMap", f"dashboard-{path.stem}")
        assert found["data"][path.name].rstrip() == path.read_text().rstrip()
        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert len(path.read_bytes()) < ANNOTATION_BYTES_MAX


def test_what_an_operator_looks_for_by_label_has_it(composed: Any) -> None:
    looked_for = [
        each
        for each in composed("monitoring")
        if each["apiVersion"].startswith("monitoring.coreos.com/")
    ]

    assert {each["kind"] for each in looked_for} == {"ServiceMonitor", "PrometheusRule"}
    assert {each["metadata"]["labels"]["release"] for each in looked_for} == {
        "kube-prometheus-stack"
    }


# TLS and certificates


def test_routers_speak_tls_with_the_mounted_certificate(composed: Any) -> None:
    documents = composed("tls")
    router = named(documents, "Deployment", "router")
    (process,) = pod_spec(router)["containers"]  # type: ignore[index]
    said = check_options(process["args"][0], process["args"][1:])
    mounts = {each["name"]: each["mountPath"] for each in process["volumeMounts"]}
    volumes = {each["name"]: each for each in pod_spec(router)["volumes"]}  # type: ignore[index]
    environment = {each["name"]: each.get("value") for each in process["env"]}

    assert said["--tls-cert"] == [f"{mounts['tls']}/tls.crt"]
    assert said["--tls-key"] == [f"{mounts['tls']}/tls.key"]
    assert volumes["tls"]["secret"] == {"secretName": "quorate-tls", "defaultMode": 0o440}
    assert environment["QUORATE_TLS_CA"] == f"{mounts['tls']}/ca.crt"
    assert environment["QUORATE_ENDPOINT"].partition(":")[0] == "localhost"
    service = named(documents, "Service", "quorate")
    assert [port["appProtocol"] for port in service["spec"]["ports"]] == ["https", "https"]


def test_the_clients_certificate_has_the_names_that_they_use(composed: Any) -> None:
    documents = composed("tls-cert-manager")
    certificate = named(documents, "Certificate", "quorate-tls")["spec"]

    assert certificate["secretName"] == "quorate-tls"
    service = named(documents, "Service", "quorate")["metadata"]
    assert {service["name"], f"{service['name']}.{service['namespace']}.svc", "localhost"} <= set(
        certificate["dnsNames"]
    )


@cache
def authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    return sign(key, key, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")]), []), key


def sign(
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    extensions: list[x509.ExtensionType],
) -> x509.Certificate:
    now = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(issuer if key is signer else x509.Name([]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=90))
        .add_extension(x509.BasicConstraints(ca=key is signer, path_length=None), critical=True)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer, hashes.SHA256())


def issue(spec: Document, folder: Path) -> ClusterPaths:
    """Model: write what cert-manager's CA issuer puts into the Secret of a Certificate."""
    assert spec["privateKey"] == {
        "algorithm": "ECDSA",
        "size": 256,
        "encoding": "PKCS8",
        "rotationPolicy": "Always",
    }
    usages = {
        "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
        "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    key, (ca, ca_key) = ec.generate_private_key(ec.SECP256R1()), authority()
    certificate = sign(
        key,
        ca_key,
        ca.subject,
        [
            x509.SubjectAlternativeName([x509.DNSName(name) for name in spec["dnsNames"]]),
            x509.ExtendedKeyUsage([usages[each] for each in spec["usages"] if each in usages]),
        ],
    )
    folder.mkdir()
    pem = serialization.Encoding.PEM
    (folder / "ca.crt").write_bytes(ca.public_bytes(pem))
    (folder / "tls.crt").write_bytes(certificate.public_bytes(pem))
    (folder / "tls.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "tls.key").chmod(0o600)
    return ClusterPaths(
        ca=folder / "ca.crt", certificate=folder / "tls.crt", key=folder / "tls.key"
    )


def test_certificates_are_taken_by_the_processes_that_mount_them(
    composed: Any, tmp_path: Path
) -> None:
    """Of the names and usages that are asked for, by a model of cert-manager: none was there."""
    documents = composed("cert-manager")
    owners = {f"node-{zone}": Caller(Role.NODE, "quorate", f"node-{zone}-0") for zone in "abc"}
    owners |= {"router": Caller(Role.ROUTER, "quorate"), "admin": Caller(Role.ADMIN, "quorate")}
    for workload in filter(pod_spec, documents):
        volumes = pod_spec(workload)["volumes"]  # type: ignore[index]
        (secret,) = [each["secret"]["secretName"] for each in volumes if each["name"] == "certs"]
        spec = named(documents, "Certificate", secret)["spec"]
        assert spec["secretName"] == secret
        owner = owners.pop(workload["metadata"]["name"])
        paths = issue(spec, tmp_path / secret)
        assert load_cluster_certificate(paths, owner, time.time()).owner == owner
        assert ("server auth" in spec["usages"]) == (owner.role == Role.NODE)
        assert named(documents, "Issuer", spec["issuerRef"]["name"])
    assert owners == {}


# The rest


def test_dual_stack_listens_on_both_families_everywhere(composed: Any) -> None:
    documents = composed("dual-stack")

    assert named(documents, "ConfigMap", "listen")["data"] == {"LISTEN": "[::]"}
    listening = [
        argument
        for workload in filter(pod_spec, documents)
        for container in containers(workload)
        for argument in container.get("args", ())
        if argument.startswith(("--listen=", "--http=", "--grpc=", "--admin="))
    ]
    assert len(listening) == 3 * 2 + 3
    assert all("=$(LISTEN):" in argument for argument in listening)
    for document in documents:
        if document["kind"] == "Service":
            assert document["spec"]["ipFamilyPolicy"] == "PreferDualStack"


def test_guaranteed_nodes_have_what_that_class_of_service_asks_for(composed: Any) -> None:
    """Limits as requests, of CPU and memory, in whole processors.

    Source: Kubernetes, "Pod Quality of Service Classes" and "Control CPU Management Policies".
    """
    documents = composed("guaranteed")
    nodes = [document for document in documents if document["kind"] == "StatefulSet"]

    for node in nodes:
        for container in containers(node):
            resources = container["resources"]
            assert resources["requests"] == resources["limits"]
            assert resources["limits"]["cpu"].isdigit()
        assert named(documents, "PriorityClass", pod_spec(node)["priorityClassName"])  # type: ignore[index]


def test_egress_leaves_the_ways_that_processes_take(composed: Any) -> None:
    documents = composed("egress")
    ways = {"egress": {"node", "kube-dns"}, "egress-admin": {"node", "router"}}
    for policy, reached in ways.items():
        rules = named(documents, "NetworkPolicy", policy)["spec"]["egress"]
        labels = [peer["podSelector"]["matchLabels"] for rule in rules for peer in rule["to"]]
        assert {
            each.get("app.kubernetes.io/component", each.get("k8s-app")) for each in labels
        } == (reached)


def test_rollout_operator_finds_sets_and_pods(composed: Any) -> None:
    """By its README: a group's label, OnDelete, and the pods' label `name`."""
    nodes = [each for each in composed("rollout-operator") if each["kind"] == "StatefulSet"]

    assert {each["metadata"]["labels"]["rollout-group"] for each in nodes} == {"quorate-node"}
    for node in nodes:
        assert node["spec"]["updateStrategy"] == {"type": "OnDelete"}
        assert node["metadata"]["annotations"] == {"rollout-max-unavailable": "1"}
        template = node["spec"]["template"]["metadata"]["labels"]
        assert template["name"] == node["metadata"]["name"]


def test_load_balancer_leads_to_the_public_faces_alone(composed: Any) -> None:
    services = [each for each in composed("load-balancer") if each["kind"] == "Service"]
    (service,) = [each for each in services if each["spec"].get("type") == "LoadBalancer"]

    assert {port["name"] for port in service["spec"]["ports"]} == {"http", "grpc"}
    assert service["spec"]["loadBalancerSourceRanges"]
    assert service["spec"]["externalTrafficPolicy"] == "Local"


def test_gateway_leads_to_the_ports_of_the_clients_service(composed: Any) -> None:
    documents = composed("gateway")
    ports = {
        port["name"]: port["port"]
        for port in named(documents, "Service", "quorate")["spec"]["ports"]
    }
    listeners = {
        each["name"] for each in named(documents, "Gateway", "quorate")["spec"]["listeners"]
    }
    for kind, port in (("HTTPRoute", "http"), ("GRPCRoute", "grpc")):
        route = named(documents, kind, "quorate")["spec"]
        (rule,) = route["rules"]
        assert rule["backendRefs"] == [{"name": "quorate", "port": ports[port]}]
        assert {each["sectionName"] for each in route["parentRefs"]} <= listeners
