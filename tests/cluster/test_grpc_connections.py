"""Connections to a real gRPC server: a network has its share, and others keep theirs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from contextlib import ExitStack

import grpc.aio

from quorate.grpc_connections import GrpcConnections
from tests.http2 import opening
from tests.router.loops import run

SHARE = 3


def connect(stack: ExitStack, port: int, source: str) -> socket.socket:
    connection = stack.enter_context(
        socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
    )
    connection.sendall(opening())
    assert connection.recv(9), "the server's settings"
    connection.settimeout(0)
    return connection


def is_open(connection: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):
        while part := connection.recv(4096):
            assert part
        return False
    return True


def test_the_newest_of_too_many_are_closed() -> None:
    async def story() -> None:
        server = grpc.aio.server()
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        connections = GrpcConnections(SHARE)
        with ExitStack() as stack:
            greedy: list[socket.socket] = []
            for _ in range(SHARE + 2):
                greedy.append(await asyncio.to_thread(connect, stack, port, "127.0.0.9"))
                connections.sweep(port)
            other = await asyncio.to_thread(connect, stack, port, "127.0.0.8")
            connections.sweep(port)
            while any(is_open(each) for each in greedy[SHARE:]):
                await asyncio.sleep(0)
            assert all(is_open(each) for each in [*greedy[:SHARE], other])
            assert connections.closed == 2

            greedy[0].close()
            again = await asyncio.to_thread(connect, stack, port, "127.0.0.9")
            connections.sweep(port)
            assert is_open(again)
        await server.stop(0)

    run(story())


def test_other_ports_and_files_of_the_process_are_left_alone() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with ExitStack() as stack:
        stack.enter_context(listener)
        port = listener.getsockname()[1]
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(5)
        ]
        accepted = [stack.enter_context(listener.accept()[0]) for _ in clients]
        connections = GrpcConnections(1)
        connections.sweep(port + 1 if port < 65_535 else port - 1)
        for each in accepted:
            each.sendall(b"x")
        assert [each.recv(1) for each in clients] == [b"x"] * 5
        assert connections.closed == 0
