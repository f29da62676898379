import gc
import os
import threading
import time
import unittest

from headstart import Instance
from headstart._generated import (
    FLAG_DONE,
    FLAG_FD,
    FLAG_LENGTH_KNOWN,
    FLAG_NO_FD,
    OP_FREE,
    OP_MARK,
    OP_RECV_MSG,
    OP_SEGMENT,
)
from tests.fake_bridge import FakeBridge, answer, memfd, open_fds

WHOLE = FLAG_DONE | FLAG_LENGTH_KNOWN


class News:
    """Tells of segments in order, then of nothing more. `told` is set once all were asked past."""

    def __init__(self, *segments):
        self._segments = segments
        self.told = threading.Event()

    def __call__(self, request, _):
        if request.b >= len(self._segments):
            self.told.set()
            return None
        number, data = self._segments[request.b]
        if data is None:
            return answer(request, id=request.b + 1, segment=number)
        return answer(request, id=request.b + 1, segment=number, total=len(data), flags=FLAG_FD), [memfd(data)]


def named(request, number=1, length=5, offset=0):
    return answer(request, segment=number, offset=offset, length=length, total=length, flags=WHOLE)


class AheadTest(unittest.TestCase):
    def test_what_is_mapped_ahead_is_claimed_without_an_fd(self):
        news = News((1, b"early"))
        with FakeBridge(lambda request, _: named(request), news) as bridge:
            instance = Instance(bridge.path)
            instance.connect()
            instance.map_ahead()
            self.assertTrue(news.told.wait(5))
            self.assertEqual(instance.recv_msg(1), b"early")
            (claim,) = bridge.requests
            self.assertEqual(claim.flags, FLAG_NO_FD)

    def test_what_was_not_mapped_in_time_is_asked_for(self):
        def handle(request, _):
            if request.operation == OP_SEGMENT:
                return answer(request, segment=request.a, flags=FLAG_FD), [memfd(b"late!")]
            return named(request, request.id)

        news = News((1, b"early"))
        with FakeBridge(handle, news) as bridge:
            instance = Instance(bridge.path)
            instance.map_ahead()
            self.assertTrue(news.told.wait(5))
            before = open_fds()
            view = instance.recv_msg(7)
            self.assertEqual(view, b"late!")
            asked = [(request.operation, request.a) for request in bridge.requests]
            self.assertEqual(asked, [(OP_RECV_MSG, 0), (OP_SEGMENT, 7)])
            for _ in range(500):
                if open_fds() <= before + 3:
                    break
                time.sleep(0.01)
            self.assertLessEqual(open_fds(), before + 3, "the connection's, its peer's, the mapping's")

    def test_an_fd_of_what_is_mapped_already_is_closed(self):
        def handle(request, _):
            return answer(request, segment=1, length=5, total=5, flags=WHOLE | FLAG_FD), [memfd(b"later")]

        with FakeBridge(handle, News((1, b"early"))) as bridge:
            instance = Instance(bridge.path)
            first = instance.recv_msg(1)
            before = open_fds()
            self.assertEqual(instance.recv_msg(2), b"later")
            self.assertEqual(first, b"later")
            self.assertLessEqual(open_fds(), before)

    def test_a_segment_is_given_back_by_whichever_thread_asks_next(self):
        def handle(request, _):
            return named(request) if request.operation == OP_RECV_MSG else answer(request)

        news = News((1, b"early"))
        with FakeBridge(handle, news) as bridge:
            instance = Instance(bridge.path)
            instance.map_ahead()
            self.assertTrue(news.told.wait(5))
            views = [instance.recv_msg(1), instance.recv_msg(2)]
            instance.mark("still held")
            views.clear()
            gc.collect()
            thread = threading.Thread(target=instance.mark, args=("from another thread",))
            thread.start()
            thread.join(5)
            freed = [request.a for request in bridge.requests if request.operation == OP_FREE]
            self.assertEqual(freed, [1, 1], "one for each message in it")
            self.assertEqual([request.operation for request in bridge.requests][2], OP_MARK)

    def test_a_segment_that_went_away_is_unmapped(self):
        news = News((1, bytes(4096)), (1, None))
        with FakeBridge(lambda request, _: answer(request), news) as bridge:
            instance = Instance(bridge.path)
            instance.connect()
            with open("/proc/self/maps") as maps:
                before = maps.read().count("memfd:test")
            instance.map_ahead()
            self.assertTrue(news.told.wait(5))
            gc.collect()
            with open("/proc/self/maps") as maps:
                self.assertEqual(maps.read().count("memfd:test"), before)
            instance.mark("it was nobody's, so nothing is freed")
            self.assertEqual([request.operation for request in bridge.requests], [OP_MARK])

    def test_without_news_claims_ask_for_fds_again(self):
        for tell in (
            lambda request, peer: FakeBridge.cut(peer),
            lambda request, _: answer(request, b"unknown operation", error="protocol"),
            lambda request, _: answer(request, b"bye", error="instanceClosed"),
            lambda request, _: answer(request, id=0, segment=1),
            lambda request, _: (answer(request, id=1, segment=1, flags=FLAG_FD), [os.open("/dev/null", os.O_RDONLY)]),
            lambda request, _: answer(request, id=1, segment=1, flags=FLAG_FD),
            lambda request, _: b"noise",
        ):

            def handle(request, _):
                answered = answer(request, segment=1, length=5, total=5, flags=WHOLE | FLAG_FD)
                return answered, [memfd(b"plain")]

            with FakeBridge(handle, tell) as bridge:
                instance = Instance(bridge.path)
                instance.map_ahead()
                for _ in range(500):
                    if not any(thread.name == "headstart-segments" for thread in threading.enumerate()):
                        break
                    time.sleep(0.01)
                self.assertEqual(instance.recv_msg(1), b"plain")
                self.assertEqual(bridge.requests[0].flags, 0)

    def test_a_forked_child_maps_by_itself(self):
        def handle(request, _):
            if request.flags & FLAG_NO_FD:
                return named(request)
            answered = answer(request, segment=1, length=5, total=5, flags=WHOLE | FLAG_FD)
            return answered, [memfd(b"child")]

        news = News((1, b"early"))
        with FakeBridge(handle, news) as bridge:
            instance = Instance(bridge.path)
            instance.map_ahead()
            self.assertTrue(news.told.wait(5))
            first = instance.recv_msg(1)
            child = os.fork()
            if child == 0:
                os._exit(0 if instance.recv_msg(2) == b"child" else 1)
            _, status = os.waitpid(child, 0)
            self.assertEqual(os.waitstatus_to_exitcode(status), 0)
            self.assertEqual((first, instance.recv_msg(3)), (b"early", b"early"))

    def test_instances_of_one_socket_share_a_connection(self):
        with FakeBridge(lambda request, _: answer(request)) as bridge:
            Instance(bridge.path).mark("one")
            Instance(bridge.path).mark("two")
            self.assertEqual(len(bridge.hellos), 1)


if __name__ == "__main__":
    unittest.main()
