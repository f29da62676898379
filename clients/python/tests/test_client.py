import gc
import os
import threading
import time
import unittest

from headstart import (
    AlreadyClaimed,
    BridgeLost,
    Deadline,
    Diverged,
    HeadstartError,
    Instance,
    Miss,
    ProtocolError,
    connection,
    fnv1a64,
)
from headstart._generated import (
    FLAG_DONE,
    FLAG_FD,
    FLAG_INLINE,
    FLAG_LENGTH_KNOWN,
    FLAG_PROGRESSIVE,
    HEADER_BYTES,
    MAX_PACKET_BYTES,
    OP_AWAIT,
    OP_CALL,
    OP_FREE,
    OP_MARK,
    OP_OUTBOX,
    OP_RECV_MSG,
)
from tests.fake_bridge import HEADER, FakeBridge, answer, memfd, open_fds

WHOLE = FLAG_DONE | FLAG_LENGTH_KNOWN


def segment(request, data, **fields):
    """An answer that names all of a new segment 1."""
    fields = {"segment": 1, "length": len(data), "total": len(data), "flags": WHOLE | FLAG_FD, **fields}
    return answer(request, **fields), [memfd(data)]


class ReceiveTest(unittest.TestCase):
    def test_a_message_is_a_read_only_view_of_the_segment(self):
        data = os.urandom(100_000)
        with FakeBridge(lambda request, _: segment(request, data, offset=64, length=5, total=5)) as bridge:
            view = Instance(bridge.path).recv_msg("weights", "GET s3://models/weights", timeout=5)
            self.assertEqual(view, data[64:69])
            self.assertTrue(view.readonly)
            (request,) = bridge.requests
            self.assertEqual((request.id, request.deadline), (fnv1a64("weights"), 5000))
            self.assertEqual(request.payload, b"GET s3://models/weights")
            self.assertEqual(bridge.hellos[0].a, os.getpid())

    def test_bytes_written_later_are_seen_because_nothing_was_copied(self):
        descriptor = memfd(b"before")

        def handle(request, _):
            return answer(request, segment=1, length=6, total=6, flags=WHOLE | FLAG_FD), [os.dup(descriptor)]

        with FakeBridge(handle) as bridge:
            view = Instance(bridge.path).recv_msg(1)
            os.pwrite(descriptor, b"after!", 0)
            self.assertEqual(view, b"after!")
        os.close(descriptor)

    def test_a_small_message_comes_in_the_packet(self):
        with FakeBridge(lambda request, _: answer(request, b"small", flags=FLAG_INLINE, length=5)) as bridge:
            self.assertEqual(Instance(bridge.path).recv_msg(2), b"small")

    def test_an_empty_message(self):
        with FakeBridge(lambda request, _: answer(request, flags=WHOLE)) as bridge:
            self.assertEqual(Instance(bridge.path).recv_msg(2), b"")

    def test_a_segment_is_mapped_once_and_named_again(self):
        data = b"first" + b"second"

        def handle(request, _):
            if request.id == 1:
                return segment(request, data, length=5, total=5)
            return answer(request, segment=1, offset=5, length=6, total=6, flags=WHOLE)

        with FakeBridge(handle) as bridge:
            instance = Instance(bridge.path)
            first = instance.recv_msg(1)
            before = open_fds()
            self.assertEqual(instance.recv_msg(2), b"second")
            self.assertEqual(first, b"first")
            self.assertLessEqual(open_fds(), before)

    def test_a_segment_is_given_back_when_nobody_refers_to_its_bytes(self):
        def handle(request, _):
            if request.operation in (OP_FREE, OP_MARK):
                return answer(request)
            if request.id == 2:
                return answer(request, segment=1, offset=5, length=6, total=6, flags=WHOLE)
            return segment(request, b"firstsecond", length=5, total=5)

        with FakeBridge(handle) as bridge:
            instance = Instance(bridge.path)

            def frees():
                instance.mark("now")
                return [request.a for request in bridge.requests if request.operation == OP_FREE]

            first, second = instance.recv_msg(1), instance.recv_msg(2)
            part = second[1:3]
            del first, second
            self.assertEqual(frees(), [])
            self.assertEqual(part, b"ec")
            del part
            self.assertEqual(frees(), [1, 1], "one for each message in it")
            self.assertEqual(instance.recv_msg(3), b"first", "the bridge sends its fd again")
            self.assertEqual(frees(), [1, 1, 1])

    def test_errors_have_their_class_code_and_errno(self):
        kinds = {"miss": Miss, "diverged": Diverged, "alreadyClaimed": AlreadyClaimed, "connectFailed": HeadstartError}
        for code, kind in kinds.items():
            with FakeBridge(lambda request, _, code=code: answer(request, b"why", error=code)) as bridge:
                with self.assertRaises(kind) as caught:
                    Instance(bridge.path).recv_msg(1)
                self.assertEqual((caught.exception.code, caught.exception.strerror), (code, "why"))
                self.assertGreater(caught.exception.errno, 0)

    def test_after_an_error_the_connection_goes_on(self):
        def handle(request, _):
            return answer(request, error="miss") if request.id == 1 else answer(request, b"x", flags=FLAG_INLINE)

        with FakeBridge(handle) as bridge:
            instance = Instance(bridge.path)
            with self.assertRaises(Miss):
                instance.recv_msg(1)
            self.assertEqual(instance.recv_msg(2), b"x")
            self.assertEqual(len(bridge.hellos), 1)

    def test_an_error_that_this_client_does_not_know(self):
        with FakeBridge(lambda request, _: answer(request, b"new", error=999)) as bridge:
            with self.assertRaisesRegex(HeadstartError, "error 999.*new"):
                Instance(bridge.path).recv_msg(1)

    def test_ids_are_unsigned_64_bit_numbers(self):
        instance = Instance("/nonexistent")
        for id in (-1, 1 << 64):
            with self.assertRaises(ValueError):
                instance.recv_msg(id)
        self.assertEqual(fnv1a64(""), 0xCBF29CE484222325)
        self.assertEqual(fnv1a64("a"), 0xAF63DC4C8601EC8C)
        self.assertEqual(fnv1a64("foobar"), 0x85944171F73967E8)


class ProgressiveTest(unittest.TestCase):
    def test_reads_behind_the_write_mark(self):
        data = os.urandom(10_000)
        marks = iter([4000, 7000, 10_000])

        def handle(request, _):
            if request.operation == OP_RECV_MSG:
                self.assertTrue(request.flags & FLAG_PROGRESSIVE)
                return segment(request, data, length=1000, total=10_000, flags=FLAG_LENGTH_KNOWN | FLAG_FD)
            self.assertEqual((request.operation, request.a, request.b), (OP_AWAIT, 1, 0))
            mark = max(next(marks), request.c)
            return answer(request, segment=1, length=mark, total=10_000, flags=FLAG_DONE if mark == 10_000 else 0)

        with FakeBridge(handle) as bridge:
            stream = Instance(bridge.path).recv_msg(1, progressive=True)
            self.assertEqual(stream.total, 10_000)
            self.assertEqual(stream.read(600), data[:600])
            self.assertEqual(stream.view(1000), data[600:1000], "what is there, without waiting")
            self.assertEqual([request.operation for request in bridge.requests], [OP_RECV_MSG])
            self.assertEqual(stream.read(100), data[1000:1100])
            self.assertEqual(stream.read(), data[1100:])
            self.assertEqual(stream.read(1), b"")

    def test_a_length_that_is_known_only_at_the_end(self):
        data = b"0123456789"

        def handle(request, _):
            if request.operation == OP_RECV_MSG:
                return segment(request, data, length=2, total=0, flags=FLAG_FD)
            return answer(request, segment=1, length=10, flags=FLAG_DONE)

        with FakeBridge(handle) as bridge:
            reply = Instance(bridge.path).claim(1, progressive=True)
            self.assertIsNone(reply.total)
            self.assertEqual(reply.data, data)
            self.assertEqual(reply.total, 10)

    def test_all_bytes_of_a_known_length_are_all(self):
        def handle(request, _):
            if request.operation == OP_RECV_MSG:
                return segment(request, b"12345678", length=4, total=8, flags=FLAG_LENGTH_KNOWN | FLAG_FD)
            return answer(request, segment=1, length=8)

        with FakeBridge(handle) as bridge:
            reply = Instance(bridge.path).claim(1, progressive=True)
            self.assertEqual(reply.data, b"12345678")
            self.assertEqual(len(bridge.requests), 2)

    def test_what_ended_it_early_is_raised(self):
        def handle(request, _):
            if request.operation == OP_RECV_MSG:
                return segment(request, b"part....", length=4, total=8, flags=FLAG_LENGTH_KNOWN | FLAG_FD)
            return answer(request, b"4 of 8 bytes", error="bodyTruncated")

        with FakeBridge(handle) as bridge:
            stream = Instance(bridge.path).recv_msg(1, progressive=True)
            self.assertEqual(stream.read(4), b"part")
            with self.assertRaisesRegex(HeadstartError, "bodyTruncated"):
                stream.read(4)

    def test_a_mark_that_lies_is_refused(self):
        for length in (1, 4, 1 << 40, (1 << 64) - 1):

            def handle(request, _, length=length):
                if request.operation == OP_RECV_MSG:
                    return segment(request, b"part....", length=4, total=8, flags=FLAG_LENGTH_KNOWN | FLAG_FD)
                return answer(request, segment=1, length=length)

            with FakeBridge(handle) as bridge:
                stream = Instance(bridge.path).recv_msg(1, progressive=True)
                stream.read(4)
                with self.assertRaises(ProtocolError):
                    stream.read(1)

    def test_a_stream_may_be_read_by_another_thread(self):
        data = b"x" * 8

        def handle(request, _):
            if request.operation == OP_RECV_MSG:
                return segment(request, data, length=4, total=8, flags=FLAG_LENGTH_KNOWN | FLAG_FD)
            return segment(request, data)

        with FakeBridge(handle) as bridge:
            stream = Instance(bridge.path).recv_msg(1, progressive=True)
            result = []
            thread = threading.Thread(target=lambda: result.append(stream.read()))
            thread.start()
            thread.join(5)
            self.assertEqual(result, [data])


class CallTest(unittest.TestCase):
    def test_head_and_body(self):
        box = memfd(bytes(4096))

        def handle(request, _):
            if request.operation == OP_OUTBOX:
                return answer(request, segment=9, length=4096, flags=FLAG_FD), [os.dup(box)]
            sent = os.pread(box, request.b, request.a)
            return answer(request, sent.upper(), flags=FLAG_INLINE, status=201)

        with FakeBridge(handle) as bridge:
            instance = Instance(bridge.path)
            reply = instance.call("PUT", "s3://results/key", [("content-type", "text/plain")], b"body")
            self.assertEqual((reply.status, reply.data), (201, b"BODY"))
            self.assertEqual(bridge.requests[-1].payload, b"PUT s3://results/key\ncontent-type: text/plain\n\n")
            instance.call("PUT", "s3://results/key", body=b"again")
            operations = [request.operation for request in bridge.requests]
            self.assertEqual(operations, [OP_OUTBOX, OP_CALL, OP_CALL], "one outbox serves both")
        os.close(box)

    def test_an_outbox_smaller_than_asked_for(self):
        with FakeBridge(lambda request, _: segment(request, bytes(10), segment=9)) as bridge:
            with self.assertRaises(ProtocolError):
                Instance(bridge.path).call("PUT", "s3://results/key", body=bytes(11))

    def test_what_would_change_the_head_is_refused_here(self):
        instance = Instance("/nonexistent")
        with self.assertRaises(ValueError):
            instance.call("GET", "s3://models/a\nx-amz-acl: public")
        with FakeBridge(lambda request, _: answer(request)) as bridge, self.assertRaises(ValueError):
            Instance(bridge.path).call("GET", "s3://models/" + "a" * MAX_PACKET_BYTES)

    def test_mark(self):
        with FakeBridge(lambda request, _: answer(request)) as bridge:
            Instance(bridge.path).mark("ready")
            self.assertEqual((bridge.requests[0].operation, bridge.requests[0].payload), (OP_MARK, b"ready"))


class HostileTest(unittest.TestCase):
    """Whatever comes: a typed error at once, no fd stays open, and the next request gets a new connection."""

    def refused(self, handle, kind=ProtocolError):
        once = []

        def first_only(request, peer):
            if once:
                return answer(request, b"fine", flags=FLAG_INLINE)
            once.append(1)
            return handle(request, peer)

        with FakeBridge(first_only) as bridge:
            instance = Instance(bridge.path)
            instance.connect()
            time.sleep(0.01)
            before = open_fds()
            with self.assertRaises(kind):
                instance.recv_msg(1, timeout=0.2)
            self.assertEqual(instance.recv_msg(2, timeout=5), b"fine")
            self.assertEqual(len(bridge.hellos), 2)
            gc.collect()
            for _ in range(100):
                if open_fds() <= before:
                    break
                time.sleep(0.01)
            self.assertLessEqual(open_fds(), before)

    def test_short_packets(self):
        for length in (1, HEADER_BYTES - 1):
            self.refused(lambda request, _, length=length: answer(request)[:length])

    def test_packets_that_are_too_long(self):
        self.refused(lambda request, _: answer(request, bytes(MAX_PACKET_BYTES), flags=FLAG_INLINE))

    def test_a_payload_of_another_length(self):
        self.refused(lambda request, _: answer(request, b"1234")[:-1])
        self.refused(lambda request, _: answer(request, b"1234") + b"5")

    def test_another_version_operation_or_number(self):
        def changed(index, value):
            def handle(request, _):
                fields = list(HEADER.unpack(answer(request)))
                fields[index] = value
                return HEADER.pack(*fields)

            return handle

        for index, value in ((0, 2), (1, 7), (2, 12345)):
            self.refused(changed(index, value))

    def test_an_error_of_the_protocol(self):
        self.refused(lambda request, _: answer(request, b"malformed", error="protocol"))

    def test_a_missing_fd(self):
        self.refused(lambda request, _: answer(request, segment=1, length=5, flags=WHOLE | FLAG_FD))

    def test_a_segment_that_never_came(self):
        self.refused(lambda request, _: answer(request, segment=7, length=5, flags=WHOLE))

    def test_bytes_of_no_segment(self):
        self.refused(lambda request, _: answer(request, length=5, flags=WHOLE))

    def test_fds_that_nobody_announced(self):
        self.refused(lambda request, _: (answer(request, segment=1, length=5, flags=WHOLE), [memfd(b"12345")]))

    def test_more_fds_than_one(self):
        for count in (2, 4, 9):
            self.refused(
                lambda request, _, count=count: (
                    answer(request, segment=1, length=5, flags=WHOLE | FLAG_FD),
                    [memfd(b"12345") for _ in range(count)],
                )
            )

    def test_fds_that_are_no_memory(self):
        def pipe(request, _):
            read, write = os.pipe()
            os.close(write)
            return answer(request, segment=1, length=5, flags=WHOLE | FLAG_FD), [read]

        self.refused(pipe)
        self.refused(lambda request, _: segment(request, b"", length=5))

    def test_ranges_outside_of_the_segment(self):
        for fields in (
            {"length": 11},
            {"offset": 6, "length": 5},
            {"offset": (1 << 64) - 1, "length": 5},
            {"length": (1 << 64) - 1},
            {"length": 4, "total": 11},
        ):
            self.refused(lambda request, _, fields=fields: segment(request, b"0123456789", **fields))

    def test_no_answer(self):
        saved, connection.GRACE = connection.GRACE, 0.1
        self.addCleanup(setattr, connection, "GRACE", saved)
        begun = time.monotonic()
        self.refused(lambda request, _: None, Deadline)
        self.assertLess(time.monotonic() - begun, 3)

    def test_a_late_answer_is_not_taken_for_the_next(self):
        saved, connection.GRACE = connection.GRACE, 0.0
        self.addCleanup(setattr, connection, "GRACE", saved)

        def late(request, _):
            time.sleep(0.4)
            return answer(request, b"late", flags=FLAG_INLINE)

        self.refused(late, Deadline)

    def test_the_bridge_dies(self):
        def die(request, peer):
            FakeBridge.cut(peer)

        self.refused(die, BridgeLost)

    def test_no_bridge(self):
        with self.assertRaises(BridgeLost) as caught:
            Instance("/nonexistent/app.sock").recv_msg(1)
        self.assertIsInstance(caught.exception, ConnectionError)

    def test_random_packets(self):
        import random

        randomness = random.Random(7)

        def noise(request, _):
            packet = bytearray(answer(request, bytes(randomness.randrange(100)), segment=1, length=3))
            for _ in range(randomness.randrange(1, 8)):
                packet[randomness.randrange(8, len(packet))] = randomness.randrange(256)
            return bytes(packet)

        saved, connection.GRACE = connection.GRACE, 0.1
        self.addCleanup(setattr, connection, "GRACE", saved)
        with FakeBridge(noise) as bridge:
            instance = Instance(bridge.path)
            for _ in range(500):
                try:
                    instance.recv_msg(1, timeout=0.2)
                except HeadstartError:
                    pass


class SharingTest(unittest.TestCase):
    def test_every_thread_has_a_connection_that_ends_with_it(self):
        barrier = threading.Barrier(8)

        def handle(request, _):
            barrier.wait(5)
            return answer(request, str(request.id).encode(), flags=FLAG_INLINE)

        with FakeBridge(handle) as bridge:
            instance = Instance(bridge.path)
            results = {}

            def receive(id):
                results[id] = bytes(instance.recv_msg(id))

            before = open_fds()
            threads = [threading.Thread(target=receive, args=(id,)) for id in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)
            self.assertEqual(results, {id: str(id).encode() for id in range(8)})
            self.assertEqual(len(bridge.hellos), 8)
            gc.collect()
            for _ in range(200):
                if open_fds() <= before:
                    break
                time.sleep(0.01)
            self.assertLessEqual(open_fds(), before)

    def test_a_forked_child_has_a_connection_of_its_own(self):
        with FakeBridge(lambda request, _: answer(request, b"ok", flags=FLAG_INLINE)) as bridge:
            instance = Instance(bridge.path)
            self.assertEqual(instance.recv_msg(1), b"ok")
            child = os.fork()
            if child == 0:
                os._exit(0 if instance.recv_msg(2) == b"ok" else 1)
            _, status = os.waitpid(child, 0)
            self.assertEqual(os.waitstatus_to_exitcode(status), 0)
            self.assertEqual(instance.recv_msg(3), b"ok")
            self.assertEqual([hello.a for hello in bridge.hellos], [os.getpid(), child])

    def test_the_socket_is_found_by_the_environment(self):
        with FakeBridge(lambda request, _: answer(request, b"ok", flags=FLAG_INLINE)) as bridge:
            os.environ["HEADSTART_SOCKET"] = bridge.path
            self.addCleanup(os.environ.pop, "HEADSTART_SOCKET")
            self.assertTrue(Instance.available())
            self.assertEqual(Instance().connect(), "i-test")


if __name__ == "__main__":
    unittest.main()
