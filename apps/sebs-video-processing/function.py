"""Works on a clip with ffmpeg.

{"bucket": {"bucket", "input", "output"}, "object": {"key", "op", "duration"}}; op is watermark, transcode or extract-gif,
of the first `duration` seconds.
"""

import datetime
import os
import subprocess
import tempfile

from . import storage

client = storage.storage.get_instance()

# op → (the result's ending, ffmpeg's options)
OPERATIONS = {
    "watermark": (".mp4", ["-vf", "drawbox=x=20:y=20:w=iw/5:h=ih/10:color=white@0.4:t=fill", "-preset", "veryfast"]),
    "transcode": (".mp4", ["-vf", "scale=-2:240", "-preset", "veryfast"]),
    "extract-gif": (".gif", ["-vf", "fps=10,scale=320:-1"]),
}


def handler(event):
    bucket, wanted = event["bucket"]["bucket"], event["object"]
    name, _ = os.path.splitext(os.path.basename(wanted["key"]))
    ending, options = OPERATIONS[wanted["op"]]
    with tempfile.TemporaryDirectory() as folder:
        clip, made = os.path.join(folder, "clip"), os.path.join(folder, f"made{ending}")
        begin = datetime.datetime.now()
        client.download(bucket, os.path.join(event["bucket"]["input"], wanted["key"]), clip)
        there = datetime.datetime.now()
        ffmpeg("-i", clip, "-t", str(wanted["duration"]), *options, "-an", made)
        worked = datetime.datetime.now()
        sizes = os.path.getsize(clip), os.path.getsize(made)
        stored = client.upload(bucket, os.path.join(event["bucket"]["output"], f"{name}{ending}"), made)
        done = datetime.datetime.now()
    return {
        "result": {"bucket": bucket, "key": stored},
        "measurement": {
            "download_time": microseconds(there - begin),
            "download_size": sizes[0],
            "upload_time": microseconds(done - worked),
            "upload_size": sizes[1],
            "compute_time": microseconds(worked - there),
        },
    }


def ffmpeg(*arguments):
    """Raises RuntimeError with what it says."""
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"ffmpeg: {done.stderr.strip()}")


def microseconds(span):
    return span / datetime.timedelta(microseconds=1)
