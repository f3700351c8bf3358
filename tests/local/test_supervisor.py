"""The supervisor with small processes in the place of nodes and routers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from quorate.local import control, supervisor
from quorate.local.data_dir import DataDir
from quorate.local.processes import ProcessPlan
from quorate.local.supervisor import StartFailed, Supervisor

SLEEP = "import time; time.sleep(60)"
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(60)
"""
# The one answer that a router gives to /ready.
READY = """
import http.server, sys
class Face(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"ready")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Face).serve_forever()
"""


def plan(name: str, code: str, *arguments: str, kind: str = "node") -> ProcessPlan:
    return ProcessPlan(
        name=name,
        kind=kind,
        az=f"az-{name[0]}",
        listens="",
        arguments=(sys.executable, "-c", textwrap.dedent(code), *arguments),
    )


Story = Callable[[Supervisor, list[str]], Awaitable[None]]


def with_supervisor(tmp_path: Path, plans: list[ProcessPlan], story: Story) -> list[str]:
    """Run a story with a supervisor whose processes all end with it; return what it said."""
    said: list[str] = []

    async def run() -> None:
        data_dir = DataDir(tmp_path / "data")
        try:
            supervised = Supervisor(data_dir, plans, say=said.append)
            try:
                async with asyncio.timeout(30):
                    await story(supervised, said)
            finally:
                supervised.kill_all()
                await supervised.stop()
        finally:
            data_dir.close()

    asyncio.run(run())
    return said


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not fact():
            await asyncio.sleep(0.01)


def states(supervised: Supervisor) -> dict[str, str]:
    return {name: child.state.value for name, child in supervised.children.items()}


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_process_that_dies_at_start_is_reported_with_its_last_words_and_all_are_stopped(
    tmp_path: Path,
) -> None:
    async def story(supervised: Supervisor, _said: list[str]) -> None:
        with pytest.raises(
            StartFailed, match=r"b1 ended with exit code 7(.|\n)*the disk is on fire"
        ):
            await supervised.start(["127.0.0.1:9"], asyncio.Event())

        assert states(supervised) == {"a1": "stopped", "b1": "stopped"}

    burning = "import sys; print('the disk is on fire', file=sys.stderr); sys.exit(7)"
    with_supervisor(tmp_path, [plan("a1", SLEEP), plan("b1", burning)], story)


def test_a_node_that_must_not_take_part_does_not_keep_the_others_from_starting(
    tmp_path: Path, unused_port: int
) -> None:
    """Its disk may be lost: the others serve, and it says what to do."""

    async def story(supervised: Supervisor, said: list[str]) -> None:
        await supervised.start([f"127.0.0.1:{unused_port}"], asyncio.Event())
        await until(lambda: bool(said))

        assert said == ["b1 does not take part: replace me"]
        assert states(supervised) == {"a1": "running", "b1": "stopped", "r1": "running"}

    refused = "import sys; print('replace me', file=sys.stderr); sys.exit(4)"
    router = plan("r1", READY, str(unused_port), kind="router")
    with_supervisor(tmp_path, [plan("a1", SLEEP), plan("b1", refused), router], story)


def test_an_added_process_is_one_of_them(tmp_path: Path) -> None:
    async def story(supervised: Supervisor, said: list[str]) -> None:
        with pytest.raises(control.ControlRefused, match="still starting"):
            await supervised.add(plan("d1", SLEEP))
        await supervised.start([], asyncio.Event())

        await supervised.add(plan("d1", SLEEP))

        assert said == ["d1 added, it listens on "]
        assert states(supervised) == {"a1": "running", "d1": "running"}
        with pytest.raises(control.ControlRefused, match="already"):
            await supervised.add(plan("d1", SLEEP))

    with_supervisor(tmp_path, [plan("a1", SLEEP)], story)


def test_a_cluster_that_is_never_ready_is_given_up_and_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "READY_TIMEOUT_SECONDS", 0.3)

    async def story(supervised: Supervisor, _said: list[str]) -> None:
        with pytest.raises(StartFailed, match="not ready within"):
            await supervised.start(["127.0.0.1:9"], asyncio.Event())

        assert states(supervised) == {"a1": "stopped"}

    with_supervisor(tmp_path, [plan("a1", SLEEP)], story)


def test_stopping_while_starting_ends_the_start(tmp_path: Path) -> None:
    async def story(supervised: Supervisor, _said: list[str]) -> None:
        stop = asyncio.Event()
        stop.set()

        await supervised.start(["127.0.0.1:9"], stop)
        await supervised.stop()

        assert states(supervised) == {"a1": "stopped"}

    with_supervisor(tmp_path, [plan("a1", SLEEP)], story)


def test_a_ready_cluster_is_listed_with_its_pids(tmp_path: Path, unused_port: int) -> None:
    async def story(supervised: Supervisor, _said: list[str]) -> None:
        await supervised.start([f"127.0.0.1:{unused_port}"], asyncio.Event())

        answer = await supervised.handle("list", "")

        processes = answer["processes"]
        assert isinstance(processes, list)
        assert [row["name"] for row in processes] == ["a1", "r1"]
        pid_file = tmp_path / "data" / "run" / "a1.pid"
        assert int(pid_file.read_text()) == processes[0]["pid"]
        await supervised.stop()
        assert not pid_file.exists()

    router = plan("r1", READY, str(unused_port), kind="router")
    with_supervisor(tmp_path, [plan("a1", SLEEP), router], story)


def test_a_process_that_dies_by_itself_is_reported_once_and_stays_down(tmp_path: Path) -> None:
    async def story(supervised: Supervisor, said: list[str]) -> None:
        await supervised.start([], asyncio.Event())
        pid = supervised.children["a1"].pid
        assert pid is not None

        os.kill(pid, signal.SIGKILL)
        await until(lambda: bool(said))

        assert len(said) == 1
        assert "a1 (node in az-a" in said[0]
        assert "was killed by SIGKILL" in said[0]
        assert "quorate node restart a1" in said[0]
        assert states(supervised) == {"a1": "stopped"}

    with_supervisor(tmp_path, [plan("a1", SLEEP)], story)


def test_kill_and_restart_change_the_pid_and_say_no_more_than_that(tmp_path: Path) -> None:
    async def story(supervised: Supervisor, said: list[str]) -> None:
        await supervised.start([], asyncio.Event())
        first = supervised.children["a1"].pid

        await supervised.handle("kill", "a1")
        assert states(supervised) == {"a1": "stopped"}
        await supervised.handle("restart", "a1")

        assert states(supervised) == {"a1": "running"}
        assert supervised.children["a1"].pid != first
        assert said == ["a1 killed", "a1 restarted"]

    with_supervisor(tmp_path, [plan("a1", SLEEP)], story)


def test_pause_freezes_a_process_and_resume_lets_it_go_on(tmp_path: Path) -> None:
    async def story(supervised: Supervisor, _said: list[str]) -> None:
        await supervised.start([], asyncio.Event())
        pid = supervised.children["a1"].pid
        stat = Path(f"/proc/{pid}/stat")

        def kernel_state() -> str:
            return stat.read_text().rpartition(")")[2].split()[0]

        await supervised.handle("pause", "a1")
        await until(lambda: kernel_state() == "T")
        assert states(supervised) == {"a1": "paused"}

        await supervised.handle("resume", "a1")
        await until(lambda: kernel_state() != "T")
        assert states(supervised) == {"a1": "running"}

    with_supervisor(tmp_path, [plan("a1", SLEEP)], story)


def test_a_paused_process_can_be_stopped(tmp_path: Path) -> None:
    async def story(supervised: Supervisor, said: list[str]) -> None:
        await supervised.start([], asyncio.Event())
        await supervised.handle("pause", "a1")

        await supervised.stop()

        assert said == ["a1 paused"]
        assert states(supervised) == {"a1": "stopped"}

    with_supervisor(tmp_path, [plan("a1", SLEEP)], story)


def test_the_name_of_an_az_means_all_its_nodes(tmp_path: Path) -> None:
    async def story(supervised: Supervisor, _said: list[str]) -> None:
        await supervised.start([], asyncio.Event())

        answer = await supervised.handle("kill", "az-a")

        assert answer["message"] == "a1, a2 killed"
        assert states(supervised) == {"a1": "stopped", "a2": "stopped", "b1": "running"}

    with_supervisor(tmp_path, [plan("a1", SLEEP), plan("a2", SLEEP), plan("b1", SLEEP)], story)


@pytest.mark.parametrize(
    ("action", "name", "reason"),
    [("kill", "z9", "no process and no AZ"), ("pause", "a1", "not running")],
)
def test_what_cannot_be_done_is_refused(
    tmp_path: Path, action: str, name: str, reason: str
) -> None:
    async def story(supervised: Supervisor, _said: list[str]) -> None:
        await supervised.start([], asyncio.Event())
        await supervised.handle("kill", "a1")

        with pytest.raises(control.ControlRefused, match=reason):
            await supervised.handle(action, name)

    with_supervisor(tmp_path, [plan("a1", SLEEP)], story)


def test_a_process_that_ignores_the_request_to_stop_is_killed_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STOP_TIMEOUT_SECONDS", 0.3)

    async def story(supervised: Supervisor, said: list[str]) -> None:
        await supervised.start([], asyncio.Event())
        log = tmp_path / "data" / "run" / "a1.log"
        await until(lambda: "deaf" in log.read_text())

        await supervised.stop()

        assert len(said) == 1
        assert "killing it" in said[0]
        assert supervised.children["a1"].ended == "was killed by SIGKILL"

    with_supervisor(tmp_path, [plan("a1", DEAF)], story)


def test_the_log_of_the_run_before_is_kept(tmp_path: Path) -> None:
    run = tmp_path / "data" / "run"
    run.mkdir(parents=True)
    (run / "a1.log").write_text("the last run")

    async def story(supervised: Supervisor, _said: list[str]) -> None:
        await supervised.start([], asyncio.Event())

        assert (run / "a1.log.old").read_text() == "the last run"
        assert (run / "a1.log").read_text() == ""

    with_supervisor(tmp_path, [plan("a1", SLEEP)], story)


def test_processes_die_with_a_supervisor_that_is_killed() -> None:
    """SIGKILL leaves the supervisor no time to stop anything: the kernel does it."""
    child = "from quorate.local.parent import die_with_parent; import sys, time;"
    child += "die_with_parent(int(sys.argv[1])); print('tied', flush=True); time.sleep(60)"
    parent = (
        "import os, subprocess, sys, time;"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}, str(os.getpid())],"
        " stdout=subprocess.PIPE);"
        "child.stdout.readline(); print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert is_alive(pid)

        process.kill()
        process.wait()

        async def gone() -> None:
            await until(lambda: not is_alive(pid))

        asyncio.run(gone())


def test_a_process_whose_parent_is_gone_already_ends_at_once() -> None:
    code = "from quorate.local.parent import die_with_parent; die_with_parent(1 << 22)"

    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert "is gone" in ended.stderr
