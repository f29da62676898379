"""Packs all that lies below a prefix: {"bucket": {"bucket", "input", "output"}, "object": {"key"}}."""

import datetime
import os
import shutil
import tempfile

from . import storage

client = storage.storage.get_instance()


def handler(event):
    bucket, key = event["bucket"]["bucket"], event["object"]["key"]
    with tempfile.TemporaryDirectory() as folder:
        begin = datetime.datetime.now()
        client.download_directory(bucket, os.path.join(event["bucket"]["input"], key), folder)
        there = datetime.datetime.now()
        size = size_of(folder)
        with tempfile.TemporaryDirectory() as target:
            archive = shutil.make_archive(os.path.join(target, key), "zip", root_dir=folder)
            made = datetime.datetime.now()
            packed = os.path.getsize(archive)
            name = os.path.join(event["bucket"]["output"], os.path.basename(archive))
            stored = client.upload(bucket, name, archive)
        done = datetime.datetime.now()
    return {
        "result": {"bucket": bucket, "key": stored},
        "measurement": {
            "download_time": microseconds(there - begin),
            "download_size": size,
            "upload_time": microseconds(done - made),
            "upload_size": packed,
            "compute_time": microseconds(made - there),
        },
    }


def size_of(folder):
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)


def microseconds(span):
    return span / datetime.timedelta(microseconds=1)
