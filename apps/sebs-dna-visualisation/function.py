"""Turns a DNA sequence into the coordinates of a picture: {"bucket": {"bucket", "input", "output"}, "object": {"key"}}."""

import datetime
import io
import json
import os
import tempfile

from squiggle import transform

from . import storage

client = storage.storage.get_instance()


def handler(event):
    bucket, key = event["bucket"]["bucket"], event["object"]["key"]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, os.path.basename(key))
        begin = datetime.datetime.now()
        client.download(bucket, os.path.join(event["bucket"]["input"], key), path)
        there = datetime.datetime.now()
        size = os.path.getsize(path)
        picture = draw(path)
    made = datetime.datetime.now()
    stored = client.upload_stream(bucket, os.path.join(event["bucket"]["output"], f"{key}.json"), io.BytesIO(picture))
    done = datetime.datetime.now()
    return {
        "result": {"bucket": bucket, "key": stored},
        "measurement": {
            "download_time": microseconds(there - begin),
            "download_size": size,
            "upload_time": microseconds(done - made),
            "upload_size": len(picture),
            "compute_time": microseconds(made - there),
        },
    }


def draw(path):
    """The coordinates as JSON: [[x, …], [y, …]]."""
    with open(path, encoding="ascii") as file:
        sequence = "".join(line.strip() for line in file if not line.startswith(">"))
    return json.dumps([list(axis) for axis in transform(sequence, method="gates")]).encode()


def microseconds(span):
    return span / datetime.timedelta(microseconds=1)
