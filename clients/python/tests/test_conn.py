import os
import socket
import unittest

from headstart import AlreadyClaimed, ConnectionReset, HeadstartError, Instance, fnv1a64
from headstart._generated import (
    FLAG_FD,
    FLAG_INLINE,
    OP_CONN_STATUS,
    OP_GET_CONN,
    OP_OUTBOX,
    OP_SEND_MSG,
    OP_TRANSFER_CONN,
)
from headstart.conn import SPLICED, TCP
from tests.fake_bridge import CODES, FakeBridge, answer, memfd, open_fds

ADDRESS = "tcp://10.0.0.7:6379"


def handed(request, kind, descriptor):
    packet = answer(request, b"10.0.0.7:6379", segment=3, status=kind, flags=FLAG_FD)
    return packet, [os.dup(descriptor)]


class SendTest(unittest.TestCase):
    def test_a_short_message_is_in_the_packet_and_a_long_one_in_the_outbox(self):
        outbox = memfd(bytes(8192))

        def handle(request, _):
            if request.operation == OP_OUTBOX:
                return answer(request, segment=1, length=8192, total=8192, flags=FLAG_FD), [os.dup(outbox)]
            return answer(request, error="messageDuplicate" if request.id == 9 else "ok")

        with FakeBridge(handle) as bridge:
            instance = Instance(bridge.path)
            instance.send_msg("ready", b"now")
            instance.send_msg(5, bytearray(b"x" * 5000))
            with self.assertRaises(HeadstartError) as raised:
                instance.send_msg(9, b"")
            self.assertEqual(raised.exception.code, "messageDuplicate")
            short, _, long, _ = bridge.requests
            self.assertEqual((short.operation, short.id), (OP_SEND_MSG, fnv1a64("ready")))
            self.assertEqual((short.flags, short.payload), (FLAG_INLINE, b"now"))
            self.assertEqual((long.flags, long.a, long.b), (0, 0, 5000))
            self.assertEqual(os.pread(outbox, 5000, 0), b"x" * 5000)
        os.close(outbox)


class GetTest(unittest.TestCase):
    def test_a_tcp_socket_is_itself(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            mine = socket.create_connection(listener.getsockname())
            server, _ = listener.accept()
        with server, mine, FakeBridge(lambda request, _: handed(request, TCP, mine.fileno())) as bridge:
            with Instance(bridge.path).get_conn("cache", ADDRESS, timeout=2) as conn:
                self.assertEqual(conn.getpeername(), server.getsockname())
                conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                conn.sendall(b"hello")
                self.assertEqual(server.recv(5), b"hello")
                mine.close()
                server.close()
                self.assertEqual(conn.recv(5), b"")
            (request,) = bridge.requests
            self.assertEqual((request.id, request.payload, request.deadline), (fnv1a64("cache"), ADDRESS.encode(), 2000))

    def test_a_socketpair_tells_a_reset_from_an_end(self):
        status = {"status": 1, "id": 0}
        ours, theirs = socket.socketpair()

        def handle(request, _):
            if request.operation == OP_GET_CONN:
                return handed(request, SPLICED, theirs.fileno())
            return answer(request, b"the server broke it", length=4, total=2, **status)

        with FakeBridge(handle) as bridge, ours, theirs:
            conn = Instance(bridge.path).get_conn(1, ADDRESS)
            theirs.close()
            with conn:
                self.assertEqual(conn.getpeername(), ("10.0.0.7", 6379))
                conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ours.sendall(b"data")
                self.assertEqual(conn.recv(10), b"data")
                ours.shutdown(socket.SHUT_WR)
                self.assertEqual(conn.recv(10), b"")
                self.assertEqual(conn.status(), ("ended", None, 4, 2))
                status.update(status=2, id=CODES["connectionReset"])
                for read in (lambda: conn.recv(10), lambda: conn.recv_into(bytearray(10)), conn.makefile("rb").read):
                    with self.assertRaises(ConnectionReset) as raised:
                        read()
                    self.assertIsInstance(raised.exception, ConnectionResetError)
                self.assertEqual(conn.recv(0), b"")
            self.assertEqual({request.a for request in bridge.requests[1:]}, {3})
            self.assertEqual(bridge.requests[1].operation, OP_CONN_STATUS)

    def test_an_error_leaves_nothing_open(self):
        with FakeBridge(lambda request, _: answer(request, error="alreadyClaimed")) as bridge:
            instance = Instance(bridge.path)
            instance.connect()
            before = open_fds()
            with self.assertRaises(AlreadyClaimed):
                instance.get_conn(1, ADDRESS)
            self.assertEqual(open_fds(), before)


class TransferTest(unittest.TestCase):
    def test_a_socket_goes_beside_the_packet_and_a_carried_one_by_its_number(self):
        ours, theirs = socket.socketpair()

        def handle(request, _):
            if request.operation == OP_GET_CONN:
                return handed(request, SPLICED, theirs.fileno())
            return answer(request, error="connectionBusy" if request.id == 8 else "ok")

        with FakeBridge(handle) as bridge, ours, theirs:
            instance = Instance(bridge.path)
            conn = instance.get_conn(1, ADDRESS)
            with self.assertRaises(HeadstartError):
                instance.transfer_conn(8, ADDRESS, conn)
            self.assertGreaterEqual(conn.fileno(), 0)
            instance.transfer_conn(2, ADDRESS, conn)
            self.assertEqual(conn.fileno(), -1)
            with socket.create_server(("127.0.0.1", 0)) as listener:
                tcp = socket.create_connection(listener.getsockname())
                instance.transfer_conn(3, ADDRESS, tcp)
            self.assertEqual(tcp.fileno(), -1)
            *_, by_number, by_fd = bridge.requests
            self.assertEqual((by_number.operation, by_number.a), (OP_TRANSFER_CONN, 3))
            self.assertEqual((by_fd.a, by_fd.payload), (0, ADDRESS.encode()))
