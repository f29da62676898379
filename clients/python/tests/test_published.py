"""The published classes, used in each way in which functions of that suite use them."""

import io
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path
from unittest import mock

from headstart import Instance
from storage import _listing as listing
from storage._library import NotFound, Storage, StorageError
from storage.published import below, storage
from storage.table import escape, nosql

from tests.shelf import Shelf

PACKAGES = str(Path(__file__).resolve().parents[1])


def client(shelf):
    return storage(Storage(instance=Instance(shelf.path)))


class StorageTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def test_downloads_to_a_path(self):
        with Shelf({"in/a b.txt": b"data"}, ahead=["GET s3://in/a%20b.txt"]) as shelf:
            self.assertIsNone(client(shelf).download("in", "a b.txt", self.path("a")))
            self.assertEqual(Path(self.path("a")).read_bytes(), b"data")
            self.assertEqual(shelf.said, ["claim GET s3://in/a%20b.txt"])

    def test_a_download_that_fails_leaves_no_file(self):
        with Shelf() as shelf:
            with self.assertRaises(NotFound):
                client(shelf).download("in", "nothing", self.path("a"))
            self.assertFalse(os.path.exists(self.path("a")))

    def test_a_stream_is_a_buffer_and_goes_into_a_file_object(self):
        with Shelf({"in/a": b"data"}) as shelf:
            data = client(shelf).download_stream("in", "a")
            self.assertEqual((bytes(data), io.BytesIO(data).read(), len(data)), (b"data", b"data", 4))

    def test_uploads_return_a_unique_name(self):
        Path(self.path("f")).write_bytes(b"file")
        with Shelf() as shelf:
            first = client(shelf).upload("out", "dir.d/r.jpeg", self.path("f"))
            second = client(shelf).upload_stream("out", "dir.d/r.jpeg", io.BytesIO(b"stream"))
            third = client(shelf).upload_stream("out", "plain", b"bytes")
            self.assertEqual(
                shelf.objects, {f"out/{first}": b"file", f"out/{second}": b"stream", f"out/{third}": b"bytes"}
            )
        self.assertRegex(first, r"^dir\.d/r\.[0-9a-f]{8}\.jpeg$")
        self.assertRegex(third, r"^plain\.[0-9a-f]{8}$")

    def test_downloads_a_directory_page_by_page(self):
        objects = {f"in/d/{name}": name.encode() for name in ("a&b", "c/d", "e", "f")}
        objects |= {"in/other": b"", "in/d/g/": b""}
        ahead = ["GET s3://in/?list-type=2&prefix=d%2F", "GET s3://in/d/a%26b", "GET s3://in/d/f"]
        with Shelf(objects, ahead, page=2) as shelf:
            client(shelf).download_directory("in", "d/", self.folder)
            for name in ("a&b", "c/d", "e", "f"):
                self.assertEqual(Path(self.path("d", name)).read_text(), name)
            self.assertTrue(os.path.isdir(self.path("d", "g")))
            self.assertFalse(os.path.exists(self.path("other")))
            self.assertNotIn("GET s3://in/?list-type=2&prefix=d%2F", shelf.said)
            self.assertIn("GET s3://in/?continuation-token=d%2Fc%2Fd&list-type=2&prefix=d%2F", shelf.said)

    def test_what_was_listed_ahead_is_old_after_a_write(self):
        with Shelf({"in/d/a": b""}, ahead=["GET s3://in/?list-type=2&prefix=d%2F"]) as shelf:
            library = Storage(instance=Instance(shelf.path))
            library.upload("in", "d/b", b"")
            self.assertEqual(library.list_keys("in", "d/"), ["d/a", "d/b"])
            self.assertNotIn("claim GET s3://in/?list-type=2&prefix=d%2F", shelf.said)
            library.delete("in", "d/a")
            self.assertEqual(library.list_keys("in", "d/"), ["d/b"])

    def test_no_key_leads_out_of_the_folder(self):
        for key in ("../x", "a/../../x", "a//b", "/..", ".", "a\0b", ""):
            with self.assertRaises(ValueError, msg=key):
                below("/tmp/x", key)
        self.assertEqual(below("/tmp/x", "a/b"), "/tmp/x/a/b")

    def test_marks_when_inputs_are_there_where_a_benchmark_wants_it(self):
        with Shelf({"in/a": b"data"}) as shelf:
            client(shelf).download_stream("in", "a")
            environment = {"HEADSTART_MARKS": "1", "HEADSTART_SOCKET": shelf.path}
            with mock.patch.dict(os.environ, environment):
                marked = client(shelf)
                marked.download_stream("in", "a")
                marked.download("in", "a", self.path("a"))
                marked.upload_stream("in", "b", b"")
                marked.download_stream("in", "a")
            self.assertEqual(shelf.marks, ["inputs ready"] * 2)

    def test_an_attempt_that_ends_early_is_done_again(self):
        with Shelf({"in/a": b"data"}) as shelf:
            library = Storage(instance=Instance(shelf.path))
            with mock.patch.object(library, "download_stream", side_effect=lambda *_: Broken(b"da")):
                library.download_file("in", "a", self.path("a"))
            self.assertEqual(Path(self.path("a")).read_bytes(), b"data")

    def test_one_instance_for_a_process(self):
        self.assertIs(storage.get_instance(), storage.get_instance())


class Broken(io.BytesIO):
    """Gives what it has and then fails as a lost connection does."""

    def read(self, size=-1):
        from headstart import HeadstartError

        data = super().read(size)
        if not data:
            raise HeadstartError("cut off", "bodyTruncated")
        return data


class ListingTest(unittest.TestCase):
    def test_queries_are_canonical(self):
        self.assertEqual(listing.query("/a b/é"), "list-type=2&prefix=%2Fa%20b%2F%C3%A9")
        self.assertEqual(listing.query("", "t+/="), "continuation-token=t%2B%2F%3D&list-type=2&prefix=")

    def test_reads_references(self):
        answer = b"<ListBucketResult><Key>&lt;a&#10;&#x41;&bogus;&amp;lt;</Key></ListBucketResult>"
        self.assertEqual(listing.parse(answer), (["<a\nA&bogus;&lt;"], None))

    def test_refuses_what_is_no_listing(self):
        for body in (b"", b"<html>", b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"):
            with self.assertRaises(StorageError):
                listing.parse(body)

    def test_refuses_a_page_that_repeats(self):
        page = b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>"
        library = Storage(instance=Instance("/nonexistent"))
        with mock.patch.object(library, "_page", return_value=page), self.assertRaisesRegex(StorageError, "repeats"):
            library.list_keys("in")


class TableTest(unittest.TestCase):
    def setUp(self):
        self.shelf = Shelf().__enter__()
        self.addCleanup(self.shelf.__exit__, None, None, None)
        self.table = nosql(Storage(instance=Instance(self.shelf.path)), "s3://tables/app")

    def test_items_come_and_go(self):
        cart, other = ("cart_id", "c/1"), ("cart_id", "c")
        for number in (2, 1):
            self.table.insert("carts", cart, ("product_id", f"p{number}"), {"price": number})
        self.table.insert("carts", other, ("product_id", "p1"), {"price": 9})
        first = {"cart_id": "c/1", "product_id": "p1", "price": 1}
        second = {"cart_id": "c/1", "product_id": "p2", "price": 2}
        self.assertEqual(self.table.get("carts", cart, ("product_id", "p1")), first)
        self.assertEqual(self.table.query("carts", cart, "product_id"), [first, second])
        self.table.update("carts", cart, ("product_id", "p1"), {"price": 5, "name": "n"})
        self.assertEqual(self.table.get("carts", cart, ("product_id", "p1")), {**first, "price": 5, "name": "n"})
        self.table.delete("carts", cart, ("product_id", "p1"))
        self.table.delete("carts", cart, ("product_id", "p1"))
        self.assertEqual(self.table.query("carts", cart, "product_id"), [second])
        self.assertIn("tables/app/carts/c=2F1/p2.json", self.shelf.objects)

    def test_an_item_that_is_not_there(self):
        for ask in (self.table.get, lambda *keys: self.table.update(*keys, {})):
            with self.assertRaises(KeyError):
                ask("carts", ("a", "b"), ("c", "d"))
        self.assertEqual(self.table.query("carts", ("a", "b"), "c"), [])

    def test_no_two_values_share_a_name(self):
        values = ["", "=", "a/b", "a=2Fb", "..", "é", "1", "A", "a"]
        self.assertEqual(len({escape(value) for value in values}), len(values))
        self.assertEqual(escape(".."), "=2E=2E")

    def test_refuses_a_place_that_is_none(self):
        for place in ("tables", "redis://x", "s3://"):
            with self.assertRaises(ValueError):
                nosql(Storage(), place)


class PackageTest(unittest.TestCase):
    """`--package`: modules that say `from . import storage`."""

    def run_package(self, files, event, socket="/nonexistent"):
        with tempfile.TemporaryDirectory() as folder:
            for name, source in files.items():
                Path(folder, name).write_text(textwrap.dedent(source))
            Path(folder, "event.json").write_text(json.dumps(event))
            environment = {**os.environ, "PYTHONPATH": PACKAGES, "HEADSTART_SOCKET": socket}
            command = [sys.executable, "-m", "headstart.runtime", "--package", ".", "function:handler"]
            command += ["--event", "event.json"]
            return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=20)

    FUNCTION = """
        import datetime, io, os
        from . import storage
        from . import nosql
        from .helper import shout

        client = storage.storage.get_instance()
        table = nosql.nosql.get_instance()

        def handler(event):
            bucket = event.get("bucket").get("bucket")
            begin = datetime.datetime.now()
            data = io.BytesIO(client.download_stream(bucket, event.get("object").get("key"))).read().decode()
            spent = (datetime.datetime.now() - begin) / datetime.timedelta(microseconds=1)
            key = client.upload_stream(bucket, os.path.join("out", "r.txt"), io.BytesIO(shout(data).encode()))
            table.insert("t", ("a", "1"), ("b", "2"), {"seen": data})
            seen = [item["seen"] for item in table.query("t", ("a", "1"), "b")]
            named = isinstance(event["request-id"], str)
            return {"result": {"bucket": bucket, "key": key, "seen": seen, "named": named}, "measurement": {"us": spent}}
    """

    def test_finds_its_own_modules_and_ours(self):
        files = {"function.py": self.FUNCTION, "helper.py": "def shout(text): return text.upper()\n"}
        with Shelf({"in/a": b"data"}) as shelf:
            process = self.run_package(files, {"bucket": {"bucket": "in"}, "object": {"key": "a"}}, shelf.path)
            self.assertEqual(process.returncode, 0, process.stderr)
            result = json.loads(process.stdout)["result"]
            self.assertEqual(shelf.objects[f"in/{result['key']}"], b"DATA")
        self.assertEqual((result["bucket"], result["seen"], result["named"]), ("in", ["data"], True))

    def test_its_own_storage_comes_first(self):
        files = {
            "function.py": "from . import storage\n\ndef handler(event): return storage.WHOSE\n",
            "storage.py": "WHOSE = 'its own'\n",
        }
        self.assertEqual(self.run_package(files, {}).stdout, "its own")

    def test_its_init_is_run(self):
        files = {"__init__.py": "HERE = 1\n", "function.py": "from . import HERE\ndef handler(event): return HERE\n"}
        self.assertEqual(self.run_package(files, 1).stdout, "1")

    def test_a_folder_that_is_not_there(self):
        command = [sys.executable, "-m", "headstart.runtime", "--package", "/nowhere", "f:handler", "--event", "/dev/null"]
        environment = {**os.environ, "PYTHONPATH": PACKAGES}
        process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)
        self.assertEqual((process.returncode, process.stderr), (1, "headstart.runtime: /nowhere is no folder\n"))


class DirectTest(unittest.TestCase):
    def test_listing_without_a_bridge(self):
        from tests.test_storage import Store

        page = b"<ListBucketResult><Key>d/a</Key></ListBucketResult>"
        with Store({"/in/?list-type=2&prefix=d%2F": page}) as store:
            library = Storage(instance=None, client=store.client())
            with mock.patch.dict(os.environ, {"HEADSTART_DIRECT": "1"}):
                self.assertEqual(library.list_keys("in", "d/"), ["d/a"])


if __name__ == "__main__":
    unittest.main()
