"""Stores what a URL leads to: {"bucket": {"bucket", "output"}, "object": {"url"}}; output is a prefix."""

import datetime
import os
import tempfile
import urllib.request

from . import storage

client = storage.storage.get_instance()


def handler(event):
    bucket, url = event["bucket"]["bucket"], event["object"]["url"]
    name = os.path.basename(url)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, name)
        begin = datetime.datetime.now()
        urllib.request.urlretrieve(url, path)
        there = datetime.datetime.now()
        size = os.path.getsize(path)
        stored = client.upload(bucket, os.path.join(event["bucket"]["output"], name), path)
        done = datetime.datetime.now()
    return {
        "result": {"bucket": bucket, "url": url, "key": stored},
        "measurement": {
            "download_time": microseconds(there - begin),
            "download_size": size,
            "upload_time": microseconds(done - there),
            "upload_size": size,
            "compute_time": 0,
        },
    }


def microseconds(span):
    return span / datetime.timedelta(microseconds=1)
