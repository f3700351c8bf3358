"""Which ports a local cluster takes."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.local.ports import (
    EPHEMERAL_RANGE_DEFAULT,
    PORT_MAX,
    PORT_MIN,
    PortUnusable,
    check_port,
    choose_ports,
    ephemeral_range,
    try_listen,
)


def anything(_port: int) -> bool:
    return True


@given(
    start=st.integers(PORT_MIN, PORT_MAX - 1),
    low=st.integers(1024, 65_000),
    length=st.integers(0, 15_000),
    taken=st.sets(st.integers(PORT_MIN, PORT_MAX), max_size=20),
)
def test_ports_lie_outside_the_ephemeral_range_and_are_not_taken(
    start: int, low: int, length: int, taken: set[int]
) -> None:
    ports = choose_ports(
        6, start=start, is_free=anything, ephemeral=(low, low + length), taken=taken
    )

    assert len(set(ports)) == 6
    for port in ports:
        assert PORT_MIN <= port < PORT_MAX
        assert not low <= port <= low + length
        assert port not in taken


def test_busy_ports_are_passed_over() -> None:
    ports = choose_ports(
        2, start=20_000, is_free=lambda port: port % 2 == 1, ephemeral=(32_768, 60_999)
    )

    assert ports == [20_001, 20_003]


def test_the_search_goes_round_the_end() -> None:
    ports = choose_ports(2, start=PORT_MAX - 1, is_free=anything, ephemeral=EPHEMERAL_RANGE_DEFAULT)

    assert ports == [PORT_MAX - 1, PORT_MIN]


def test_no_free_port_is_said_in_a_sentence() -> None:
    with pytest.raises(PortUnusable, match="not 3 free ports"):
        choose_ports(
            3, start=PORT_MIN, is_free=lambda _port: False, ephemeral=EPHEMERAL_RANGE_DEFAULT
        )


def test_the_kernels_range_is_read_and_guessed_when_it_is_silent(tmp_path: Path) -> None:
    file = tmp_path / "range"
    assert ephemeral_range(file) == EPHEMERAL_RANGE_DEFAULT

    file.write_text("1024\t65535\n")
    assert ephemeral_range(file) == (1024, 65_535)

    file.write_text("what?")
    assert ephemeral_range(file) == EPHEMERAL_RANGE_DEFAULT


def test_a_listener_makes_a_port_unusable_and_the_setting_is_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        with pytest.raises(PortUnusable, match=f"port {port} .*in use.*QUORATE_HTTP_PORT"):
            check_port("127.0.0.1", port, purpose="DynamoDB HTTP", setting="QUORATE_HTTP_PORT")

    assert try_listen("127.0.0.1", port) is None
