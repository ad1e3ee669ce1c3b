"""The proxies do to a connection what their names say."""

import itertools
import os
import socket
import socketserver
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.faults.proxy import Proxies, Requests, can_lose_route
from tests.support.waiting import eventually


class _Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while piece := self.request.recv(65536):
            self.server.heard.append(piece)
            self.request.sendall(piece)


@pytest.fixture
def echo():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo) as server:
        server.daemon_threads = True
        server.heard = []
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def proxy(echo):
    with Proxies() as proxies:
        yield proxies.proxy(echo.server_address[1])


@pytest.fixture
def connection(proxy):
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as made:
        made.settimeout(5)
        assert said(made, b"hello") == b"hello"
        yield made


def said(connection, words):
    connection.sendall(words)
    return connection.recv(65536)


def is_silent(connection, seconds=0.2):
    connection.settimeout(seconds)
    try:
        return not connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(5)


def is_cut(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_a_cut_breaks_what_is_and_welcomes_what_comes(proxy, connection):
    proxy.cut()
    assert is_cut(connection)
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as again:
        assert said(again, b"again") == b"again"


def test_what_is_sent_into_a_hang_arrives_after_it(proxy, connection, echo):
    proxy.hang()
    connection.sendall(b"late")
    assert is_silent(connection)
    assert echo.heard == [b"hello"]
    proxy.heal()
    assert connection.recv(65536) == b"late"


def test_what_was_held_may_arrive_after_what_is_sent_anew(proxy, connection, echo):
    proxy.hold_requests()
    connection.sendall(b"old")
    proxy.heal(late_seconds=0.3)
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as again:
        assert said(again, b"new") == b"new"
    assert connection.recv(65536) == b"old"
    assert echo.heard == [b"hello", b"new", b"old"]


def test_lost_replies_are_lost_though_the_request_was_heard(proxy, connection, echo):
    proxy.lose_replies()
    connection.sendall(b"done")
    assert is_silent(connection)
    assert echo.heard == [b"hello", b"done"]
    proxy.heal()
    assert is_cut(connection)


def test_held_requests_are_heard_after_the_healing(proxy, connection, echo):
    proxy.hold_requests()
    connection.sendall(b"held")
    assert is_silent(connection)
    assert echo.heard == [b"hello"]
    proxy.heal()
    assert connection.recv(65536) == b"held"


def test_a_resetting_proxy_resets_each_connection_until_it_is_healed(proxy, connection):
    proxy.reset()
    assert is_cut(connection)
    # While it connects or at its first reading, as the machine has it.
    with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", proxy.port), 5) as again:
        again.recv(1)
    proxy.heal()
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as again:
        assert said(again, b"again") == b"again"


def test_who_wants_to_connect_to_a_proxy_that_ignores_gets_no_answer_until_it_is_healed(proxy, connection):
    proxy.ignore()
    assert is_cut(connection)
    with pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", proxy.port), 0.3)
    proxy.heal()
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as again:
        assert said(again, b"again") == b"again"


def test_an_address_of_its_own_loses_its_route_and_no_other_does(echo):
    if not can_lose_route():
        pytest.skip("only on a machine where tests run as root and have the program ip")
    here = f"127.{130 + os.getpid() % 100}.{os.getpid() // 100 % 250}."
    with Proxies() as proxies:
        one, other = (proxies.proxy(echo.server_address[1], f"{here}{number}") for number in (1, 2))
        one.lose_route()
        with pytest.raises(OSError, match="No route to host"):
            socket.create_connection((one.host, one.port), 5)
        with socket.create_connection((other.host, other.port), 5) as connection:
            assert said(connection, b"here") == b"here"
        one.heal()
        with socket.create_connection((one.host, one.port), 5) as connection:
            assert said(connection, b"again") == b"again"


def test_an_answering_proxy_answers_each_command_and_passes_none_on(proxy, connection, echo):
    proxy.answer("LOADING all is loading")
    assert is_cut(connection)
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as again:
        assert said(again, b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n") == b"+OK\r\n"
        again.sendall(b"*1\r\n$4\r\nPI")
        assert is_silent(again)
        again.sendall(b"NG\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n")
        answer = b"-LOADING all is loading\r\n"
        with again.makefile("rb") as answers:
            assert answers.read(2 * len(answer)) == 2 * answer
    proxy.heal()
    assert echo.heard == [b"hello"]
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as again:
        assert said(again, b"again") == b"again"


def test_something_is_done_just_before_an_answer_is_passed_on(proxy, connection):
    order = []
    proxy.when_answered(b"start", before=lambda: order.append("before"), after=lambda: order.append("after"))
    assert said(connection, b"other") == b"other"
    assert order == []
    assert said(connection, b"to start it") == b"to start it"
    eventually(lambda: order == ["before", "after"], 5)
    assert said(connection, b"to start again") == b"to start again"
    assert order == ["before", "after"]


def test_a_way_that_hangs_from_an_answer_on_has_given_it(proxy, connection):
    proxy.when_answered(b"start", after=proxy.hang_on_loop)
    connection.sendall(b"start")
    assert connection.recv(65536) == b"start"
    assert is_cut(connection)
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as again:
        again.sendall(b"late")
        assert is_silent(again)
        proxy.heal()
        again.settimeout(5)
        assert again.recv(65536) == b"late"


COMMAND = st.lists(st.binary(max_size=20), max_size=3).map(lambda words: (b"GET", *words))


@given(commands=st.lists(COMMAND, max_size=5), cuts=st.lists(st.integers(0, 200), max_size=6))
def test_commands_are_counted_however_they_are_cut_into_pieces(commands, cuts):
    sent = b"".join(
        b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        for words in commands
    )
    ends = sorted({0, len(sent), *(at for at in cuts if at < len(sent))})
    requests = Requests()
    found = [name for start, end in itertools.pairwise(ends) for name in requests.feed(sent[start:end])]
    assert found == ["GET"] * len(commands)


def test_a_refusing_proxy_is_on_its_port_again_when_healed(proxy, connection):
    proxy.refuse()
    assert is_cut(connection)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), 5)
    proxy.heal()
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as again:
        assert said(again, b"again") == b"again"


@pytest.mark.parametrize("slowness", [{"delay_seconds": 0.1}, {"bytes_per_second": 50}])
def test_a_slow_way_takes_its_time_until_it_is_healed(proxy, connection, slowness):
    proxy.slow(**slowness)
    began = time.monotonic()
    assert said(connection, b"slow?") == b"slow?"
    assert time.monotonic() - began >= 0.15
    proxy.heal()


def test_a_server_that_is_away_cuts_the_connection(echo, proxy):
    echo.server_close()
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as nobody:
        assert is_cut(nobody)
