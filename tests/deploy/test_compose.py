"""deploy/compose.yaml: what it starts agrees with itself, with the command and with the image."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from node.options import NodeOptions
from quorate import __version__
from quorate.cli.processes import parse_member
from quorate.security.cluster_certificate import ClusterPaths, load_cluster_certificate
from quorate.security.cluster_roles import Caller, Role
from tests.deploy.commands import certificate_of, check_options

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: Final[dict[str, Any]] = COMPOSE["services"]
NODES: Final = ("node-a", "node-b", "node-c")
ROUTERS: Final = ("router-1", "router-2")

THIRD_PARTY: Final = ("gateway", "prometheus", "grafana")


def filled_in(text: str) -> str:
    """Return a text with the default of each ${NAME:-default}."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def options_of_service(name: str) -> dict[str, list[str]]:
    service = SERVICES[name]
    quorate, command, *own = service["entrypoint"]
    assert quorate == "quorate"
    return check_options(command, [filled_in(each) for each in (*own, *service["command"])])


@pytest.mark.parametrize("name", NODES)
def test_a_node_is_one_of_the_members_that_all_know(name: str) -> None:
    said = options_of_service(name)
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
    assert options.name == name
    assert options.address() == f"{name}:7400"
    assert sorted(member.name for member in options.members) == list(NODES)
    assert len({member.az for member in options.members}) == 3
    volume, place = SERVICES[name]["volumes"][0].split(":")
    assert volume == name
    assert options.data_dir.is_relative_to(place)


@pytest.mark.parametrize("name", ROUTERS)
def test_a_router_knows_all_nodes_and_the_key(name: str) -> None:
    said = options_of_service(name)

    assert said["--node"] == [f"{node}:7400" for node in NODES]
    assert said["--cluster-id"] == options_of_service("node-a")["--cluster-id"]
    volume, place, mode = SERVICES[name]["volumes"][0].split(":")
    assert (volume, mode) == (SERVICES["key"]["volumes"][0].split(":")[0], "ro")
    assert said["--key-file"] == [f"{place}/users.key"]
    assert SERVICES[name]["environment"]["QUORATE_KEY_FILE"] == f"{place}/users.key"


def mounts(name: str) -> dict[str, str]:
    """Return the named volumes of a service, by the place where they are."""
    found = [each.split(":") for each in SERVICES[name]["volumes"]]
    return {place: volume for volume, place, *_ in found if not volume.startswith(".")}


def test_each_process_has_its_own_certificate_and_no_other() -> None:
    for name in (*NODES, *ROUTERS, "admin"):
        own = "router" if name in ROUTERS else name
        seen = {volume for volume in mounts(name).values() if volume.startswith("certs")}
        assert seen == {f"certs-{own}"}
        assert mounts(name)["/certs"] == f"certs-{own}"
    for name in (*NODES, *ROUTERS):
        assert certificate_of(options_of_service(name)).key == Path("/certs/tls.key")
        needed = SERVICES[name]["depends_on"]["certificates"]
        assert needed == {"condition": "service_completed_successfully"}
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    for place, volume in mounts("certificates").items():
        assert volume == f"certs-{Path(place).name}"
        assert f" {place}" in dockerfile, "else the volume would be root's"


def test_certificates_are_made_once_and_renewed_at_each_start(tmp_path: Path) -> None:
    """The service's own script, but for the place."""
    (script,) = SERVICES["certificates"]["command"]
    script = script.replace("$$", "$").replace("/certs", str(tmp_path))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for place in mounts("certificates"):
        (tmp_path / Path(place).name).mkdir()

    def run() -> None:
        shell = [*SERVICES["certificates"]["entrypoint"], script]
        subprocess.run(shell, check=True, env={"PATH": path}, capture_output=True, timeout=60)

    run()
    authority = (tmp_path / "ca/ca.key").read_bytes()
    first = (tmp_path / "node-a/tls.crt").read_bytes()
    run()
    assert (tmp_path / "ca/ca.key").read_bytes() == authority
    assert (tmp_path / "node-a/tls.crt").read_bytes() != first

    cluster_id = options_of_service("node-a")["--cluster-id"][0]
    owners = {name: Caller(Role.NODE, cluster_id, name) for name in NODES}
    owners |= {"router": Caller(Role.ROUTER, cluster_id), "admin": Caller(Role.ADMIN, cluster_id)}
    for name, owner in owners.items():
        paths = ClusterPaths(
            ca=tmp_path / name / "ca.crt",
            certificate=tmp_path / name / "tls.crt",
            key=tmp_path / name / "tls.key",
        )
        assert load_cluster_certificate(paths, owner, time.time()).owner == owner
        assert not list((tmp_path / name).glob("ca.key"))


def test_the_admin_knows_where_the_nodes_are() -> None:
    told = SERVICES["admin"]["environment"]
    assert told["QUORATE_NODES"].split() == options_of_service("router-1")["--node"]
    assert SERVICES["admin"]["profiles"] == ["admin"]


def test_who_may_call_is_one_word() -> None:
    """Anybody on this machine; nobody without a key, if that is asked for."""
    said = SERVICES["router-1"]["command"][-1]

    assert said == "${QUORATE_AUTH:---insecure}"


def test_nothing_is_published_but_on_loopback() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    assert len(ports) == 5


def test_nodes_have_no_way_out() -> None:
    assert COMPOSE["networks"]["nodes"] == {"internal": True}
    assert [SERVICES[name]["networks"] for name in NODES] == [["nodes"]] * 3
    assert "nodes" not in SERVICES["gateway"]["networks"]


@pytest.mark.parametrize("name", [*NODES, *ROUTERS])
def test_a_process_is_ours_and_may_do_nothing_else(name: str) -> None:
    service = SERVICES[name]

    assert filled_in(service["image"]) == f"quorate:{__version__}"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert service["stop_grace_period"] == "30s"
    assert service["healthcheck"]["test"] == ["CMD", "healthcheck", "/ready"]


def test_the_cluster_runs_without_what_watches_it() -> None:
    profiled = {name for name, service in SERVICES.items() if "profiles" in service}

    assert profiled == {"prometheus", "grafana", "admin"}
    needed = {other for service in SERVICES.values() for other in service.get("depends_on", ())}
    assert not needed & profiled


@pytest.mark.parametrize("name", THIRD_PARTY)
def test_images_of_others_are_pinned(name: str) -> None:
    assert re.fullmatch(r"[\w./-]+:v?\d+\.[\d.]+", filled_in(SERVICES[name]["image"]))


def test_what_is_mounted_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).is_dir(), source
            else:
                assert source in COMPOSE["volumes"]


def test_the_gateway_leads_to_the_ports_that_routers_listen_on() -> None:
    said = options_of_service("router-1")
    text = (DEPLOY / "haproxy/haproxy.cfg").read_text()
    ports = {
        option: said[option][0].rpartition(":")[2] for option in ("--http", "--grpc", "--admin")
    }

    for router in ROUTERS:
        found = re.findall(rf"server {router} {router}:(\d+)", text)
        assert found == list(ports.values())
    assert f"check port {ports['--admin']} " in text
    bound = re.findall(r"bind :(\d+)", text)
    assert bound == [port.rpartition(":")[2] for port in SERVICES["gateway"]["ports"]]


def test_prometheus_asks_every_process() -> None:
    document = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())
    targets = {
        target
        for job in document["scrape_configs"]
        for each in job.get("static_configs", ())
        for target in each["targets"]
    }

    admin = {
        f"{name}:{options_of_service(name)['--admin'][0].rpartition(':')[2]}"
        for name in (*NODES, *ROUTERS)
    }
    assert admin <= targets
