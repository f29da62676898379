"""A bridge for tests with objects behind it: answers claims of what is `ahead`, and calls as an object store does."""

import os
from urllib.parse import parse_qs, unquote, urlsplit

from headstart import fnv1a64
from headstart._generated import FLAG_FD, FLAG_INLINE, OP_CALL, OP_MARK, OP_OUTBOX, OP_RECV_MSG
from tests.fake_bridge import FakeBridge, answer, memfd

BOX_BYTES = 1 << 20


class Shelf:
    """`objects` by "bucket/key"; `ahead` are contents ("GET s3://…") that the initscript sent; `said` is what was asked for."""

    def __init__(self, objects=(), ahead=(), page=1000):
        self.objects, self.marks, self.said = dict(objects), [], []
        self._ahead = {fnv1a64(content): content for content in ahead}
        self._page = page
        self._box = memfd(bytes(BOX_BYTES))
        self.bridge = FakeBridge(self._handle)
        self.path = self.bridge.path

    def __enter__(self):
        self.bridge.__enter__()
        return self

    def __exit__(self, *error):
        self.bridge.__exit__(*error)
        os.close(self._box)

    def _handle(self, request, _):
        if request.operation == OP_OUTBOX:
            return answer(request, segment=9, length=BOX_BYTES, flags=FLAG_FD), [os.dup(self._box)]
        if request.operation == OP_MARK:
            self.marks.append(request.payload.decode())
            return answer(request)
        if request.operation == OP_RECV_MSG:
            content = self._ahead.pop(request.id, None)
            self.said.append(f"claim {request.payload.decode()}")
            if content != request.payload.decode():
                return answer(request, error="miss")
            return self._object(request, "GET", urlsplit(content.split(" ")[1]))
        if request.operation == OP_CALL:
            line = request.payload.decode().split("\n")[0]
            self.said.append(line)
            verb, address = line.split(" ")
            return self._object(request, verb, urlsplit(address))
        return answer(request)

    def _object(self, request, verb, address):
        name = unquote(address.netloc + address.path)
        status, body = 200, b""
        if verb == "PUT":
            self.objects[name] = os.pread(self._box, request.b, request.a)
        elif verb == "DELETE":
            self.objects.pop(name, None)
            status = 204
        elif address.query:
            body = self._listing(address.netloc, {key: value[0] for key, value in parse_qs(address.query).items()})
        elif name in self.objects:
            body = self.objects[name]
        else:
            status, body = 404, b"<Error><Code>NoSuchKey</Code></Error>"
        return answer(request, body, flags=FLAG_INLINE, status=status)

    def _listing(self, bucket, query):
        after = query.get("continuation-token", "")
        start = f"{bucket}/{query.get('prefix', '')}"
        keys = sorted(name.partition("/")[2] for name in self.objects if name.startswith(start))
        rest = [key for key in keys if key > after]
        now, more = rest[: self._page], len(rest) > self._page
        listed = "".join(f"<Contents><Key>{key.replace('&', '&amp;')}</Key></Contents>" for key in now)
        token = f"<NextContinuationToken>{now[-1].replace('&', '&amp;')}</NextContinuationToken>" if more else ""
        truncated = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        return f"<?xml version='1.0'?><ListBucketResult>{truncated}{listed}{token}</ListBucketResult>".encode()
