"""What linters and schemas say of the Dockerfile, the compose file and the manifests."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from jsonschema import Draft7Validator
from ruamel.yaml import YAML

from deploy.grafana.board import BOARD, DATASOURCE
from service import settings
from service.cli import run
from tests.deploy.files import CHECKOUT, DEPLOY, PROMETHEUS, yaml
from tests.deploy.images import BASE, COMPOSE, KUBERNETES, compose, image, interpolated

MANIFESTS = sorted(BASE.glob("*.yaml"))
RESOURCES = [path for path in MANIFESTS if "kind" in yaml(path) and path.stem != "kustomization"]
OLDEST, NEWEST = "1.29", "1.37"
LOOPBACK = "127.0.0.1:"


def manifest(name: str) -> Any:
    """Return one resource of the base."""
    return yaml(BASE / f"{name}.yaml")


def pod() -> Any:
    """Return the pod of the StatefulSet."""
    return manifest("statefulset")["spec"]["template"]["spec"]


def seconds(text: str) -> int:
    """Return a duration of compose in seconds."""
    return int(text.removesuffix("s"))


# --- the Dockerfile


def test_hadolint_has_nothing_to_say() -> None:
    """
    Not a remark, and what is ignored says so in its place.
    """
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--no-color", "Dockerfile"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stdout + done.stderr)


# --- the compose file


def test_the_compose_file_follows_its_schema() -> None:
    """
    The schema of the compose specification, as check-jsonschema ships it.
    """
    vendored = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(vendored.read_text())
    faults = [f"{'.'.join(map(str, e.path))}: {e.message}"
              for e in Draft7Validator(schema).iter_errors(compose())]  # fmt: skip

    assert [] == faults


def test_ports_and_sizes_can_be_given() -> None:
    """
    Variables of the shell change what is published, and reach every place that names it.
    """
    given = compose(KAFKA_PORT="19999", RUNTIME_SIZE="1g", API_WORKERS="3")
    kafka = given["services"]["kafka"]

    assert ["127.0.0.1:19999:9092"] == kafka["ports"]
    assert "localhost:19999" in kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert "size=1g," in given["volumes"]["runtime"]["driver_opts"]["o"]
    assert "3" == given["services"]["api"]["environment"]["HEADWATER_API__WORKERS"]


def test_no_port_is_published_beyond_this_machine() -> None:
    """
    There is no authentication in front of any of them.
    """
    ports = [port for one in compose()["services"].values() for port in one.get("ports", ())]

    assert 4 == len(ports)
    assert all(port.startswith(LOOPBACK) for port in ports)


def test_every_image_is_pinned() -> None:
    """
    Ours is built; the others have a version that is no moving tag.
    """
    images = {one["image"] for one in compose()["services"].values()}

    assert {"headwater:local"} == {
        one for one in images if not re.search(r":v?\d+\.\d+\.\d+$", one)
    }


def test_volumes_are_declared_and_files_are_there() -> None:
    """
    Each name is declared and used, each path exists.
    """
    given = compose()
    sources = {
        v.split(":")[0] for one in given["services"].values() for v in one.get("volumes", ())
    }
    paths = {source for source in sources if source.startswith(".")}

    assert set(given["volumes"]) == sources - paths
    assert [] == [path for path in paths if not (CHECKOUT / path).exists()]


def test_the_memory_that_is_shared_belongs_to_the_images_user() -> None:
    """
    A tmpfs of a stated size, for the user that the containers run as.
    """
    options = compose()["volumes"]["runtime"]["driver_opts"]
    uid = image("USER").partition(":")[0]

    assert ("tmpfs", "tmpfs") == (options["type"], options["device"])
    assert re.search(rf"size=\d+m,uid={uid},", options["o"])
    for name in ("learner", "api", "producer"):
        assert compose()["services"][name]["user"] == image("USER")


def test_ours_can_do_no_more_than_they_need() -> None:
    """
    A read-only root, no capability, no new privileges; an init that passes signals on.
    """
    for name in ("learner", "api", "producer"):
        one = compose()["services"][name]
        assert one["read_only"]
        assert one["init"]
        assert ["ALL"] == one["cap_drop"]
        assert ["no-new-privileges:true"] == one["security_opt"]


def test_a_learner_may_take_its_last_snapshot() -> None:
    """
    Both give it at least the time that the supervisor would.
    """
    grace = compose()["services"]["learner"]["stop_grace_period"]

    assert run._SNAPSHOT_GRACE_S <= seconds(grace)
    assert run._SNAPSHOT_GRACE_S < pod()["terminationGracePeriodSeconds"]


def test_kafka_is_where_the_settings_look_for_it() -> None:
    """
    The listener inside, the topic and its number of copies.
    """
    services = compose()["services"]
    found = settings.load(DEPLOY / "compose" / "headwater.yaml", environment={})
    advertised = services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    made = services["topics"]["command"]

    assert f"PLAINTEXT://{found.kafka.bootstrap_servers}" in advertised
    assert found.kafka.topics == (made[made.index("--topic") + 1],)
    assert found.kafka.bootstrap_servers == made[made.index("--bootstrap-server") + 1]
    assert services["kafka"]["image"] == services["topics"]["image"]
    assert (
        f"{services['kafka']['environment']['KAFKA_LOG_DIRS']}" in services["kafka"]["volumes"][0]
    )


def test_each_listener_of_kafka_has_its_parts() -> None:
    """
    Every listener is advertised (but the controller's) and has a protocol; the quorum is itself.
    """
    given = compose()["services"]["kafka"]["environment"]
    listeners = [text.split("://")[0] for text in given["KAFKA_LISTENERS"].split(",")]
    told = [text.split("://")[0] for text in given["KAFKA_ADVERTISED_LISTENERS"].split(",")]
    protocols = [
        text.split(":")[0] for text in given["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    ]
    node, _, address = given["KAFKA_CONTROLLER_QUORUM_VOTERS"].partition("@")
    controller = given["KAFKA_CONTROLLER_LISTENER_NAMES"]

    assert sorted(listeners) == sorted(protocols) == sorted([controller, *told])
    assert given["KAFKA_INTER_BROKER_LISTENER_NAME"] in told
    assert (given["KAFKA_NODE_ID"], "kafka:29093") == (node, address)
    assert f"{controller}://:29093" in given["KAFKA_LISTENERS"]


def test_prometheus_and_grafana_find_what_they_read() -> None:
    """
    Each file is mounted where the other one names it; each address is a service and its port.
    """
    services = compose()["services"]
    lies = {name: dict(reversed(v.split(":")[:2]) for v in services[name]["volumes"])
            for name in ("prometheus", "grafana")}  # fmt: skip
    scraped = yaml(PROMETHEUS / "prometheus.yml")
    [source] = yaml(DEPLOY / "grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    [provider] = yaml(DEPLOY / "grafana/provisioning/dashboards/headwater.yaml")["providers"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    targets = scraped["scrape_configs"][0]["static_configs"][0]["targets"]
    [config] = [
        c.partition("=")[2] for c in services["prometheus"]["command"] if "config.file" in c
    ]

    assert "./deploy/prometheus/prometheus.yml" == lies["prometheus"][config]
    assert ["./deploy/prometheus/rules.yml"] == [
        lies["prometheus"][p] for p in scraped["rule_files"]
    ]
    assert [f"api:{settings.ApiSettings().port}"] == targets
    assert "http://prometheus:9090" == source["url"]
    assert source["uid"] == DATASOURCE.uid
    assert CHECKOUT / lies["grafana"][home] == BOARD
    assert home.startswith(provider["options"]["path"] + "/")


def test_only_one_way_of_interpolation_is_used() -> None:
    """
    The test's own reading of ${NAME:-default} covers the whole file, and finds what it does not.
    """
    assert "${" not in interpolated(COMPOSE.read_text(), {})
    with pytest.raises(AssertionError):
        interpolated("a: ${NAME}", {})


# --- Kubernetes


@pytest.mark.parametrize("path", RESOURCES, ids=[path.stem for path in RESOURCES])
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_a_manifest_follows_the_schema(path: Path, version: str) -> None:
    """
    Strictly: a field that is misspelled is one too many.
    """
    kubernetes_validate.validate(yaml(path), version, strict=True)


def test_a_misspelled_field_is_found() -> None:
    """
    The check is one.
    """
    wrong = manifest("statefulset")
    wrong["spec"]["template"]["spec"]["terminationGraceSeconds"] = 3

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


def test_every_manifest_is_in_the_kustomization() -> None:
    """
    And nothing else; the settings are made into the map that the pod mounts.
    """
    base, more = (
        yaml(BASE / "kustomization.yaml"),
        yaml(KUBERNETES / "monitoring/kustomization.yaml"),
    )
    [made] = base["configMapGenerator"]
    [mounted] = [v["configMap"]["name"] for v in pod()["volumes"] if "configMap" in v]

    assert sorted(base["resources"]) == [path.name for path in RESOURCES]
    assert ["../base", "podmonitor.yaml"] == more["resources"]
    assert (made["name"], made["files"]) == (mounted, ["headwater.yaml"])
    assert [one["name"] for one in base["images"]] == sorted(
        {c["image"] for c in pod()["containers"]}
    )


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_builds_all_of_it(tmp_path: Path) -> None:
    """
    As kubectl does it: names and images are filled in, and the result follows the schema.
    """
    done = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / "monitoring")],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(tmp_path)},
    )
    assert 0 == done.returncode, done.stderr
    built = {one["kind"]: one for one in YAML(typ="safe").load_all(done.stdout)}
    stateful = built["StatefulSet"]["spec"]["template"]["spec"]
    [mounted] = [v["configMap"]["name"] for v in stateful["volumes"] if "configMap" in v]
    for kind in built.keys() - {"PodMonitor"}:
        kubernetes_validate.validate(built[kind], NEWEST, strict=True)

    assert 6 == len(built)
    assert mounted == built["ConfigMap"]["metadata"]["name"] != "headwater-settings"
    assert {"headwater:0.1.0"} == {container["image"] for container in stateful["containers"]}


def test_one_label_finds_the_pod() -> None:
    """
    Whoever selects the pod does it by the label it has.
    """
    spec = manifest("statefulset")["spec"]
    labels = spec["template"]["metadata"]["labels"]
    monitor = yaml(KUBERNETES / "monitoring" / "podmonitor.yaml")

    assert labels == spec["selector"]["matchLabels"] == manifest("service")["spec"]["selector"]
    assert labels == manifest("networkpolicy")["spec"]["podSelector"]["matchLabels"]
    assert labels == manifest("poddisruptionbudget")["spec"]["selector"]["matchLabels"]
    assert labels == monitor["spec"]["selector"]["matchLabels"]
    assert manifest("service")["metadata"]["name"] == spec["serviceName"]


def test_ports_are_named_once() -> None:
    """
    Service, policy, probes and monitor name the port of the API's container.
    """
    [api] = [c for c in pod()["containers"] if c["name"] == "api"]
    [port] = api["ports"]
    probes = [api[key]["httpGet"] for key in api if key.endswith("Probe")]
    [rule] = manifest("networkpolicy")["spec"]["ingress"]
    [endpoint] = yaml(KUBERNETES / "monitoring" / "podmonitor.yaml")["spec"]["podMetricsEndpoints"]

    assert settings.ApiSettings().port == port["containerPort"]
    assert 3 == len(probes)
    assert {port["name"]} == {
        *(probe["port"] for probe in probes),
        manifest("service")["spec"]["ports"][0]["targetPort"],
        rule["ports"][0]["port"],
        endpoint["port"],
    }
    assert "/readyz" == api["readinessProbe"]["httpGet"]["path"]
    assert "/healthz" == api["livenessProbe"]["httpGet"]["path"]


def test_there_is_one_learner_and_it_is_nobody() -> None:
    """
    One pod; not root, nothing writable but mounts, no capability, no token, no service links.
    """
    spec = pod()
    for container in spec["containers"]:
        own = container["securityContext"]
        assert own["readOnlyRootFilesystem"]
        assert not own["allowPrivilegeEscalation"]
        assert ["ALL"] == own["capabilities"]["drop"]
        assert {"requests", "limits"} == set(container["resources"])
    uid, gid = map(int, image("USER").split(":"))

    assert 1 == manifest("statefulset")["spec"]["replicas"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert (uid, gid, gid) == tuple(
        spec["securityContext"][key] for key in ("runAsUser", "runAsGroup", "fsGroup")
    )
    assert "RuntimeDefault" == spec["securityContext"]["seccompProfile"]["type"]
    assert (False, False) == (spec["enableServiceLinks"], spec["automountServiceAccountToken"])


def test_the_volume_of_the_state_is_the_claim() -> None:
    """
    Every mount has its volume, every volume its mount.
    """
    claims = {
        c["metadata"]["name"] for c in manifest("statefulset")["spec"]["volumeClaimTemplates"]
    }
    volumes = {volume["name"] for volume in pod()["volumes"]}
    mounts = {m["name"] for c in pod()["containers"] for m in c["volumeMounts"]}
    sizes = [v["emptyDir"].get("sizeLimit") for v in pod()["volumes"] if "emptyDir" in v]

    assert {"state"} == claims
    assert mounts == volumes | claims
    assert all(sizes)


def test_secrets_are_named_not_written() -> None:
    """
    What is secret comes from one Secret, which need not be there.
    """
    taken = [
        (one["name"], one["valueFrom"]["secretKeyRef"])
        for c in pod()["containers"]
        for one in c["env"]
        if "secretKeyRef" in one.get("valueFrom", {})
    ]
    environment = {name: "a-secret-of-twenty-three" for name, _ in taken}
    found = settings.load(BASE / "headwater.yaml", environment=environment)

    assert 2 == len(taken)
    assert {("headwater", True)} == {(ref["name"], ref["optional"]) for _, ref in taken}
    assert "sasl.password" in found.kafka.client
    assert found.api.admin_token is not None
