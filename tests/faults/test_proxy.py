"""The proxies do to a connection what their names say."""

import socket
import socketserver
import threading
import time

import pytest
from tests.faults.proxy import Proxies


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
