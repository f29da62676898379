"""Makes a thumbnail of a photo.

{"bucket": {"bucket", "input", "output"}, "object": {"key", "width", "height"}}; input and output are prefixes.
"""

import datetime
import io
import os

from PIL import Image

from . import storage

client = storage.storage.get_instance()


def handler(event):
    bucket = event["bucket"]["bucket"]
    key, width, height = (event["object"][name] for name in ("key", "width", "height"))

    begin = datetime.datetime.now()
    photo = client.download_stream(bucket, os.path.join(event["bucket"]["input"], key))
    there = datetime.datetime.now()
    thumbnail = shrink(photo, width, height)
    made = datetime.datetime.now()
    size = thumbnail.getbuffer().nbytes
    stored = client.upload_stream(bucket, os.path.join(event["bucket"]["output"], key), thumbnail)
    done = datetime.datetime.now()
    return {
        "result": {"bucket": bucket, "key": stored},
        "measurement": {
            "download_time": microseconds(there - begin),
            "download_size": len(photo),
            "upload_time": microseconds(done - made),
            "upload_size": size,
            "compute_time": microseconds(made - there),
        },
    }


def shrink(photo, width, height):
    """A JPEG of at most this size, as a file at its beginning."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(photo)) as image:
        image.thumbnail((width, height))
        image.save(out, format="jpeg")
    out.seek(0)
    return out


def microseconds(span):
    return span / datetime.timedelta(microseconds=1)
