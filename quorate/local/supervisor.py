"""Starts a local cluster's processes, watches them, and stops them; nothing is left half-started.

A process that dies by itself is reported and stays down: whoever watches a cluster wants to see
that. `quorate node restart NAME` starts it again. A node that must not take part (its directory is
empty, old or replaced) does not keep the others from starting.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process, create_subprocess_exec
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from node.exits import IDENTITY_EXIT
from quorate.local import admin_http
from quorate.local.control import ControlRefused
from quorate.local.data_dir import DataDir
from quorate.local.processes import ProcessPlan

READY_TIMEOUT_SECONDS: Final = 60.0
"""Longest wait for a started cluster to serve. Ours: elections take a second, a slow disk more."""

READY_POLL_SECONDS: Final = 0.1
"""Between two questions to a router whether it is ready. Ours."""

STOP_TIMEOUT_SECONDS: Final = 10.0
"""Longest wait for the routers, and then for the nodes, to stop cleanly. Ours."""

LOG_LINES_SHOWN: Final = 15
"""Lines of a dead process's log that are printed. Ours."""

LOG_TAIL_BYTES_MAX: Final = 64 << 10
"""Most of a log that is read to find them. Ours."""


class StartFailed(Exception):
    """The cluster could not be started; everything has been stopped again."""


@unique
class State(Enum):
    """What a process is doing, as far as the supervisor knows."""

    STOPPED = "stopped"  # not started, or ended
    RUNNING = "running"
    PAUSED = "paused"  # by SIGSTOP
    STOPPING = "stopping"  # asked to end: its end is no news


@dataclass(slots=True)
class Child:
    """One supervised process. Invariant: `process` is None only while STOPPED."""

    plan: ProcessPlan
    state: State = State.STOPPED
    process: Process | None = None
    ended: str = ""  # how it ended last, for people
    watcher: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Return the pid of the running process, None if there is none."""
        return self.process.pid if self.process is not None else None


def describe_end(returncode: int) -> str:
    """Say how a process ended."""
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"


class Supervisor:
    """Owns the processes of one local cluster. `say` prints one line for people."""

    def __init__(
        self, data_dir: DataDir, plans: Sequence[ProcessPlan], *, say: Callable[[str], None]
    ) -> None:
        """Plan to run `plans`; nothing is started yet."""
        self.children = {plan.name: Child(plan) for plan in plans}
        self._data_dir = data_dir
        self._say = say
        self._starting = True
        self._died_at_start: asyncio.Future[Child] = asyncio.get_running_loop().create_future()

    async def start(self, admin_addresses: Sequence[str], stop: asyncio.Event) -> None:
        """Start everything and return when every router is ready, or as soon as `stop` is set.

        Raises StartFailed, after stopping what was started, if a process dies or the cluster does
        not become ready in time.
        """
        for child in self.children.values():
            log = self._data_dir.log_path(child.plan.name)
            if log.exists():
                log.replace(log.with_suffix(".log.old"))  # one run back is kept
        try:
            for child in self.children.values():
                await self._spawn(child)
            await self._wait_until_ready(admin_addresses, stop)
        except OSError as error:
            await self.stop()
            raise StartFailed(f"a process could not be started: {error}") from error
        except StartFailed:
            await self.stop()
            raise
        self._starting = False

    async def stop(self) -> None:
        """Stop the routers, then the nodes; those that do not end in time are killed."""
        for kind in ("router", "node"):
            running = [
                child
                for child in self.children.values()
                if child.plan.kind == kind and child.process is not None
            ]
            for child in running:
                self._end_politely(child)
            watchers = [child.watcher for child in running if child.watcher is not None]
            if not watchers:
                continue
            _, late = await asyncio.wait(watchers, timeout=STOP_TIMEOUT_SECONDS)
            for child in running:
                if child.watcher in late:
                    self._say(
                        f"{child.plan.name} did not stop within {STOP_TIMEOUT_SECONDS:.0f} s:"
                        " killing it (no acknowledged write is lost by that)"
                    )
                    self._signal(child, signal.SIGKILL)
            if late:
                await asyncio.wait(late)

    def kill_all(self) -> None:
        """Kill every process at once, without waiting: the person is in a hurry."""
        for child in self.children.values():
            child.state = State.STOPPING if child.process is not None else child.state
            self._signal(child, signal.SIGKILL)

    async def handle(self, action: str, name: str) -> dict[str, object]:
        """Do what a control request asks for; the handler of `quorate.local.control`."""
        if action == "list":
            return {"processes": self._list()}
        if self._starting:
            raise ControlRefused("the cluster is still starting")
        children = self._find(name)
        for child in children:
            self._check_possible(action, child)
        for child in children:
            await self._do(action, child)
        names = ", ".join(child.plan.name for child in children)
        done = {"kill": "killed", "pause": "paused", "resume": "resumed", "restart": "restarted"}
        message = f"{names} {done[action]}"
        self._say(message)
        return {"message": message, "processes": self._list()}

    def check_may_add(self, plan: ProcessPlan) -> None:
        """Raise ControlRefused if a process cannot be added now."""
        if self._starting:
            raise ControlRefused("the cluster is still starting")
        if plan.name in self.children:
            raise ControlRefused(f"there is a process called {plan.name} already")

    async def add(self, plan: ProcessPlan) -> dict[str, object]:
        """Run one more process. Raises ControlRefused."""
        self.check_may_add(plan)
        child = self.children[plan.name] = Child(plan)
        await self._spawn(child)
        message = f"{plan.name} added, it listens on {plan.listens}"
        self._say(message)
        return {"message": message, "processes": self._list()}

    def _list(self) -> list[dict[str, object]]:
        return [
            {
                "name": child.plan.name,
                "kind": child.plan.kind,
                "az": child.plan.az,
                "listens": child.plan.listens,
                "pid": child.pid,
                "state": child.state.value,
                "ended": child.ended,
            }
            for child in self.children.values()
        ]

    def _find(self, name: str) -> list[Child]:
        """Return the process of that name, or all nodes of the AZ of that name."""
        if name in self.children:
            return [self.children[name]]
        in_az = [
            child
            for child in self.children.values()
            if child.plan.kind == "node" and child.plan.az == name
        ]
        if in_az:
            return in_az
        raise ControlRefused(
            f"there is no process and no AZ called {name!r}: the processes are"
            f" {', '.join(self.children)}"
        )

    @staticmethod
    def _check_possible(action: str, child: Child) -> None:
        if child.state is State.STOPPING:
            raise ControlRefused(f"{child.plan.name} is stopping")
        if action != "restart" and child.state is State.STOPPED:
            raise ControlRefused(f"{child.plan.name} is not running")

    async def _do(self, action: str, child: Child) -> None:
        match action:
            case "kill":
                child.state = State.STOPPING
                self._signal(child, signal.SIGKILL)
                await self._wait_for_end(child)
            case "pause":
                self._signal(child, signal.SIGSTOP)
                child.state = State.PAUSED
            case "resume":
                self._signal(child, signal.SIGCONT)
                child.state = State.RUNNING
            case "restart":
                if child.process is not None:
                    self._end_politely(child)
                    try:
                        await asyncio.wait_for(self._wait_for_end(child), STOP_TIMEOUT_SECONDS)
                    except TimeoutError:
                        self._signal(child, signal.SIGKILL)
                        await self._wait_for_end(child)
                await self._spawn(child)
            case _:
                raise AssertionError(action)

    async def _spawn(self, child: Child) -> None:
        assert child.process is None
        with self._data_dir.open_log(child.plan.name) as log:
            # Its own session: Ctrl-C on the terminal reaches the supervisor only, which then
            # stops everything in order.
            child.process = await create_subprocess_exec(
                *child.plan.arguments,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        child.state = State.RUNNING
        self._data_dir.write_pid(child.plan.name, child.process.pid)
        loop = asyncio.get_running_loop()
        child.watcher = loop.create_task(self._watch(child, child.process))

    async def _watch(self, child: Child, process: Process) -> None:
        returncode = await process.wait()
        asked = child.state is State.STOPPING
        child.process, child.state = None, State.STOPPED
        child.ended = describe_end(returncode)
        self._data_dir.pid_path(child.plan.name).unlink(missing_ok=True)
        if asked:
            return
        if child.plan.kind == "node" and returncode == IDENTITY_EXIT:
            self._say(f"{child.plan.name} does not take part: {self._last_line(child)}")
            return
        if self._starting and not self._died_at_start.done():
            self._died_at_start.set_result(child)
            return
        self._say(
            f"{child.plan.name} ({child.plan.kind} in {child.plan.az}, pid {process.pid})"
            f" {child.ended}; log: {self._data_dir.log_path(child.plan.name)};"
            f" `quorate node restart {child.plan.name}` starts it again"
        )

    async def _wait_until_ready(self, admin_addresses: Sequence[str], stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READY_TIMEOUT_SECONDS
        for address in admin_addresses:
            reason = ""
            while not stop.is_set():
                if self._died_at_start.done():
                    raise StartFailed(self._story(self._died_at_start.result()))
                if loop.time() > deadline:
                    raise StartFailed(
                        f"the cluster was not ready within {READY_TIMEOUT_SECONDS:.0f} s: {reason}"
                    )
                ready, reason = await asyncio.to_thread(_ask_ready, address)
                if ready:
                    break
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), READY_POLL_SECONDS)

    def _last_line(self, child: Child) -> str:
        return next(reversed(self._last_lines(child)), f"it {child.ended}")

    def _last_lines(self, child: Child) -> list[str]:
        log = self._data_dir.log_path(child.plan.name)
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES_MAX))
            return file.read().decode(errors="replace").splitlines()[-LOG_LINES_SHOWN:]

    def _story(self, child: Child) -> str:
        """Say how a process died at start, with the last lines of its log."""
        log = self._data_dir.log_path(child.plan.name)
        story = f"{child.plan.name} {child.ended} while the cluster was starting"
        return "\n".join(
            [
                f"{story}; its last lines ({log}):",
                *(f"  {line}" for line in self._last_lines(child)),
            ]
        )

    def _end_politely(self, child: Child) -> None:
        was_paused = child.state is State.PAUSED
        child.state = State.STOPPING
        self._signal(child, signal.SIGTERM)
        if was_paused:
            self._signal(child, signal.SIGCONT)  # a paused process cannot end

    @staticmethod
    def _signal(child: Child, number: signal.Signals) -> None:
        if child.process is not None:
            with contextlib.suppress(ProcessLookupError):  # it ended this instant
                child.process.send_signal(number)

    @staticmethod
    async def _wait_for_end(child: Child) -> None:
        if child.watcher is not None:
            await asyncio.shield(child.watcher)


def _ask_ready(address: str) -> tuple[bool, str]:
    """Return whether a router is ready, and if not, why."""
    try:
        status, body = admin_http.get(address, "/ready", timeout_seconds=2.0)
    except admin_http.AdminUnreachable as error:
        return False, str(error)
    return status == 200, body.decode(errors="replace").strip()


def print_event(text: str) -> None:
    """Print what has happened, with the time of day: it may be read much later."""
    print_line(f"{time.strftime('%H:%M:%S')} {text}")


def print_line(text: str) -> None:
    """Print a line now, also into a pipe: others wait for the word `ready`.

    A reader that has gone away is no reason to leave processes unwatched.
    """
    with contextlib.suppress(BrokenPipeError):
        print(text, file=sys.stdout, flush=True)
