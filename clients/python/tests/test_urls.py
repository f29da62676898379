"""Functions that use urllib, with a bridge and without."""

import os
import tempfile
import unittest
import urllib.error
import urllib.request
from pathlib import Path
from unittest import mock

from headstart import urls
from tests.shelf import Shelf
from tests.test_storage import Store

URL = "http://pictures.test:81/a.txt"


class UrlsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        methods = {(kind, name): getattr(kind, name) for kind, name in cls.methods()}
        urls.watch()
        urls.watch()

        def restore():
            for (kind, name), method in methods.items():
                setattr(kind, name, method)
            del urllib.request._headstart

        cls.addClassCleanup(restore)

    @staticmethod
    def methods():
        return ((urllib.request.HTTPHandler, "http_open"), (urllib.request.HTTPSHandler, "https_open"))

    def behind(self, shelf, **more):
        patch = mock.patch.dict(os.environ, {"HEADSTART_SOCKET": shelf.path, **more})
        patch.start()
        self.addCleanup(patch.stop)

    def test_takes_what_the_initscript_fetched(self):
        with Shelf({"pictures.test:81/a.txt": b"data"}, ahead=[f"GET {URL}"]) as shelf:
            self.behind(shelf, HEADSTART_MARKS="1")
            with tempfile.TemporaryDirectory() as folder:
                urllib.request.urlretrieve(URL, os.path.join(folder, "a"))
                self.assertEqual(Path(folder, "a").read_bytes(), b"data")
            self.assertEqual((shelf.said, shelf.marks), ([f"claim GET {URL}"], ["inputs ready"]))

    def test_the_bridge_fetches_the_rest_for_openers_of_its_own_too(self):
        with Shelf({"pictures.test:81/a.txt": b"data"}) as shelf:
            self.behind(shelf)
            opener = urllib.request.build_opener()
            opener.addheaders = [("User-Agent", "mine")]
            with opener.open(URL) as response:
                self.assertEqual((response.status, response.headers["content-length"]), (200, "4"))
                self.assertEqual(response.read(), b"data")
            self.assertEqual(shelf.said, [f"claim GET {URL}", f"GET {URL}"])

    def test_what_is_not_there_is_an_http_error(self):
        with Shelf() as shelf:
            self.behind(shelf)
            with self.assertRaises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(URL)
            self.assertEqual(caught.exception.code, 404)

    def test_other_requests_are_urllibs_own(self):
        with Shelf() as shelf, Store({"/a": b"own"}) as store:
            self.behind(shelf)
            request = urllib.request.Request(f"{store.endpoint}/a", headers={"Range": "bytes=0-1"})
            with urllib.request.urlopen(request) as response:
                self.assertEqual(response.read(), b"own")
            self.assertEqual(shelf.said, [])

    def test_without_headstart_all_are(self):
        with Shelf() as shelf, Store({"/a": b"own"}) as store:
            self.behind(shelf, HEADSTART_DIRECT="1", HEADSTART_MARKS="1")
            with urllib.request.urlopen(f"{store.endpoint}/a") as response:
                self.assertEqual(response.read(), b"own")
            self.assertEqual((shelf.said, shelf.marks), ([], ["inputs ready"]))


if __name__ == "__main__":
    unittest.main()
