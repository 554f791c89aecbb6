"""The manifests: as kustomize renders them, by the schemas of Kubernetes, and by rules that those tools don't know."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent import config
from tests.places import built
from tests.support import peers

HOME = built.ROOT / "container/kubernetes"
OURS = "telemetry-agent"
RESTRICTED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
NOT_OURS = {
    "CKV_K8S_43": "a digest is the user's to give: the image is theirs to publish",
    "CKV_K8S_15": "an image whose tag never moves need not be pulled each time",
    "CKV_K8S_14": "as CKV_K8S_43: the sidecar's image has its tag from the overlay",
}
NEEDS_ROOT = NOT_OURS | {
    "CKV_K8S_23": "files of many owners need root",
    "CKV_K8S_40": "as CKV_K8S_23",
    "CKV_K8S_25": "and four capabilities",
    "CKV_K8S_37": "as CKV_K8S_25",
}

pytestmark = pytest.mark.skipif(not shutil.which("kubectl"), reason="needs: apt-get install kubernetes-client")


def rendered(name: str) -> list[dict[str, Any]]:
    """The objects of one kustomization."""
    return list(yaml.safe_load_all(built.run("kubectl", "kustomize", HOME / name)))


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The one object of a kind."""
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


def pod(name: str) -> dict[str, Any]:
    """The pod of the workload of a kustomization."""
    workload = one(rendered(name), "Deployment" if name == "example" else "DaemonSet")
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def containers(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every container of a pod, of all three kinds."""
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(kind, [])


def violations(spec: dict[str, Any]) -> list[str]:
    """What Pod Security `restricted` (v1.37) forbids in a pod, as sentences."""
    pod_wide = spec.get("securityContext", {})
    found = [f"pod: {key}" for key in ("hostPID", "hostIPC", "hostNetwork") if spec.get(key)]
    found += [f"volume {v['name']}" for v in spec.get("volumes", []) if not RESTRICTED_VOLUMES & set(v)]
    for each in containers(spec):
        own = pod_wide | each.get("securityContext", {})
        capabilities = own.get("capabilities", {})
        hooks = [each.get(f"{kind}Probe", {}) for kind in ("startup", "liveness", "readiness")]
        wrong = {
            "may run as root": own.get("runAsNonRoot") is not True or own.get("runAsUser") == 0,
            "may escalate": own.get("allowPrivilegeEscalation") is not False,
            "is privileged": bool(own.get("privileged")),
            "keeps capabilities": capabilities.get("drop") != ["ALL"],
            "adds capabilities": bool(set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}),
            "has no seccomp profile": own.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"),
            "takes a port of the host": any("hostPort" in port for port in each.get("ports", [])),
            "probes another host": any("host" in hook.get("httpGet", {}) for hook in hooks),
        }
        found += [f"{each['name']} {what}" for what, is_so in wrong.items() if is_so]
    return found


def test_the_sidecar_is_native_and_starts_first() -> None:
    """It is the first init container and restarts for ever, so it outlives everything that writes."""
    first = pod("example")["initContainers"][0]

    assert (OURS, "Always") == (first["name"], first["restartPolicy"])


def test_the_example_is_restricted() -> None:
    """Pod Security `restricted` has nothing against the pod, and the namespace enforces it."""
    labels = one(rendered("example"), "Namespace")["metadata"]["labels"]

    assert [] == violations(pod("example"))
    assert "restricted" == labels["pod-security.kubernetes.io/enforce"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"securityContext": {"runAsUser": 0}}, "telemetry-agent may run as root"),
        (
            {"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["LEASE"]}}},
            "telemetry-agent adds capabilities",
        ),
        ({"startupProbe": {"httpGet": {"host": "example.org"}}}, "telemetry-agent probes another host"),
        ({"ports": [{"hostPort": 9464}]}, "telemetry-agent takes a port of the host"),
    ],
)
def test_the_rules_notice(change: dict[str, Any], expected: str) -> None:
    """Each rule fails where it should, in an init container too."""
    spec = pod("example")
    sidecar = spec["initContainers"][0]
    for key, value in change.items():
        sidecar[key] = sidecar[key] | value if isinstance(value, dict) and key in sidecar else value

    assert expected in violations(spec)


def test_the_agent_runs_as_the_writer() -> None:
    """No container of the pod takes another user, so the agent may give space back in the Collector's files."""
    spec = pod("example")

    users = {spec["securityContext"].get("runAsUser")}
    users |= {each.get("securityContext", {}).get("runAsUser", spec["securityContext"]["runAsUser"])
              for each in containers(spec)}  # fmt: skip
    assert 1 == len(users)
    assert all(user >= 10_000 for user in users)


@pytest.mark.parametrize("name", ["example", "node"])
def test_the_probes_ask_the_right_question(name: str) -> None:
    """Starting, living and being ready are asked at three different addresses of the agent, by a named port."""
    (ours,) = [each for each in containers(pod(name)) if each["name"] == OURS]
    (port,) = ours["ports"]

    paths = {kind: ours[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}

    assert {"name": "agent-metrics", "containerPort": 9464} == port
    assert {"/startupz", "/livez", "/readyz"} == {probe["path"] for probe in paths.values()}
    assert {"agent-metrics"} == {probe["port"] for probe in paths.values()}
    assert 30 <= ours["startupProbe"]["periodSeconds"] * ours["startupProbe"]["failureThreshold"] <= 300


@pytest.mark.parametrize("name", ["example", "node"])
def test_every_container_is_bounded(name: str) -> None:
    """Memory, processor and disk have requests and limits, the root is read-only, no token is mounted."""
    spec = pod(name)

    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["terminationGracePeriodSeconds"] >= 60
    for each in containers(spec):
        assert each["securityContext"]["readOnlyRootFilesystem"] is True
        for what in ("requests", "limits"):
            assert {"cpu", "memory", "ephemeral-storage"} == set(each["resources"][what])


def test_the_volume_is_larger_than_retention_lets_it_grow() -> None:
    """The kubelet evicts a pod whose volume is too full: retention and the warning come before, the limit behind."""
    spec = pod("example")
    (volume,) = [volume["emptyDir"] for volume in spec["volumes"] if volume["name"] == "telemetry"]
    (ours,) = [each for each in containers(spec) if each["name"] == OURS]
    loaded = config.load(str(HOME / "sidecar/agent.toml"), environ={}).config

    limit = int(volume["sizeLimit"].removesuffix("Gi")) << 30
    disk = int(ours["resources"]["limits"]["ephemeral-storage"].removesuffix("Mi")) << 20
    assert loaded.retention.max_total is not None
    assert loaded.files.critical_total is not None
    assert loaded.retention.max_total < loaded.files.critical_total < limit < disk


@pytest.mark.parametrize("path", [HOME / "sidecar/agent.toml", HOME / "node/agent.toml", HOME.parent / "agent.toml"])
def test_the_configurations_are_right(path: Path) -> None:
    """Each configuration loads, and serves its probes on the port that the manifests name."""
    loaded = config.load(str(path), environ={}).config

    assert ("", 9464) == loaded.web.address


def test_mounts_and_directories_agree() -> None:
    """The agent watches what the Collector writes to, below one volume."""
    spec = pod("example")
    mounts = {
        each["name"]: mount["mountPath"]
        for each in containers(spec)
        for mount in each["volumeMounts"]
        if mount["name"] == "telemetry"
    }
    loaded = config.load(str(HOME / "sidecar/agent.toml"), environ={}).config
    collector = yaml.safe_load((HOME / "example/collector.yaml").read_text())

    assert {OURS: "/telemetry", "collector": "/telemetry"} == mounts
    assert "/telemetry" == loaded.files.directory
    for name, exporter in collector["exporters"].items():
        if name.startswith("file/"):
            assert loaded.files.selects(exporter["path"].removeprefix("/telemetry/"))
            assert exporter["append"] is True


def test_only_needed_capabilities_on_nodes() -> None:
    """The node's agent is root with four capabilities, and nothing else of the restrictions is lifted."""
    spec = pod("node")

    expected = {
        "volume telemetry", "telemetry-agent may run as root", "telemetry-agent adds capabilities",
    }  # fmt: skip
    assert expected == set(violations(spec))
    assert ["CHOWN", "DAC_OVERRIDE", "FOWNER", "LEASE"] == spec["containers"][0]["securityContext"]["capabilities"][
        "add"
    ]


@pytest.mark.parametrize("name", ["example", "node"])
def test_policies_and_monitors_select_the_pods(name: str) -> None:
    """The network policy and the monitor find the pod by its label, the policy names ports that it has."""
    objects = rendered(name)
    workload = one(objects, "Deployment" if name == "example" else "DaemonSet")["spec"]["template"]
    policy, monitor = one(objects, "NetworkPolicy")["spec"], one(objects, "PodMonitor")["spec"]

    labels = workload["metadata"]["labels"]
    names = {port["name"] for each in containers(workload["spec"]) for port in each["ports"]}
    wanted = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert {rule["key"] for rule in monitor["selector"]["matchExpressions"]} <= set(labels)
    assert wanted <= names
    assert {point["port"] for point in monitor["podMetricsEndpoints"]} <= names
    assert "9464" == workload["metadata"]["annotations"]["prometheus.io/port"]


def test_the_component_fits_any_deployment(tmp_path: Path) -> None:
    """A Deployment with an init container of its own keeps it, behind the agent, and keeps its volumes."""
    shutil.copytree(HOME / "sidecar", tmp_path / "sidecar")
    (tmp_path / "kustomization.yaml").write_text("resources: [app.yaml]\ncomponents: [sidecar]\n")
    app = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"},
        "spec": {"selector": {"matchLabels": {"app": "app"}}, "template": {
            "metadata": {"labels": {"app": "app"}},
            "spec": {"initContainers": [{"name": "migrate", "image": "migrate:1"}],
                     "containers": [{"name": "app", "image": "app:1"}], "volumes": [{"name": "data", "emptyDir": {}}]},
        }},
    }  # fmt: skip
    (tmp_path / "app.yaml").write_text(yaml.safe_dump(app))

    spec = yaml.safe_load_all(built.run("kubectl", "kustomize", tmp_path))
    template = one(list(spec), "Deployment")["spec"]["template"]

    assert [OURS, "migrate"] == [each["name"] for each in template["spec"]["initContainers"]]
    assert {"data", "telemetry", OURS} == {volume["name"] for volume in template["spec"]["volumes"]}
    assert "app" == template["metadata"]["labels"]["app"]


# -- the judgement of others


@pytest.mark.peer
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["example", "node"])
@pytest.mark.parametrize("version", ["1.29", "1.37"])
def test_kubernetes_takes_every_object(request: pytest.FixtureRequest, tmp_path: Path, name: str, version: str) -> None:
    """The schemas of the oldest version that runs native sidecars and of the newest one accept every object."""
    assert [] == _rejected(request.config, tmp_path, name, version)


@pytest.mark.peer
@pytest.mark.timeout(300)
def test_an_older_kubernetes_rejects_the_sidecar(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Where native sidecars are unknown, the Deployment is refused and not run with an agent that blocks it."""
    assert ["Deployment"] == _rejected(request.config, tmp_path, "example", "1.27")


def _rejected(settings: pytest.Config, home: Path, name: str, version: str) -> list[str]:
    """The kinds that kubernetes-validate rejects; it knows no custom resources."""
    tool = peers.environment(settings, "kubernetes-validate", "kubernetes-validate") / "bin/kubernetes-validate"
    rejected = []
    for number, each in enumerate(rendered(name)):
        if each["apiVersion"].startswith("monitoring.coreos.com/"):
            continue
        path = home / f"{number}.yaml"
        path.write_text(yaml.safe_dump(each))
        command = [str(tool), "--strict", "--kubernetes-version", version, str(path)]
        if subprocess.run(command, capture_output=True, check=False, timeout=60).returncode != 0:
            rejected.append(each["kind"])
    return rejected


@pytest.mark.peer
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("name", "excused"), [("example", NOT_OURS), ("node", NEEDS_ROOT)])
def test_checkov_finds_nothing_unexplained(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, excused: dict[str, str]
) -> None:
    """What the policy scanner holds against the rendered objects has its reason above."""
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(rendered(name)))

    results = built.checkov(request.config, tmp_path, "kubernetes")

    found = {str(check["check_id"]) for check in results["failed_checks"]}
    assert set() == found - set(excused)
    assert len(results["passed_checks"]) > 50


@pytest.mark.parametrize("name", ["example", "node"])
def test_custom_resources_are_what_the_operator_reads(name: str) -> None:
    """The Prometheus Operator's objects have its version, and durations that it parses."""
    objects = rendered(name)
    monitor, rule = one(objects, "PodMonitor"), one(objects, "PrometheusRule")

    assert {"monitoring.coreos.com/v1"} == {monitor["apiVersion"], rule["apiVersion"]}
    for point in monitor["spec"]["podMetricsEndpoints"]:
        assert re.fullmatch(r"\d+[smh]", point["interval"])
        assert "/metrics" == point["path"]
    assert rule["spec"]["groups"]
