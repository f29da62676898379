"""Says what is in the photo that a task of a queue names: an ordinary function, which knows nothing of headstart.

The event names the queue: {"queue": "jobs"}. A task is {"bucket": "inputs", "key": "chelsea.png", "output": URL}: the
photo, and where its class of ImageNet is to be stored, by a PUT that the URL gives leave to (a presigned one). A task
leaves the queue when that is done; until then the queue gives it to another after its visibility timeout.
"""

import json

import classifier
import storage
import tasks
from classifier import mark

MODEL = ("models", "efficientnet-lite0.onnx")
# The most that storing a result may take, s: far less than the invocation may, so that what is wrong is told.
STORING = 5


def handler(event):
    """Does one task. Answers {"task": its id or null, …}, with "error" and a status ≥ 400 when it could not do it."""
    task = tasks.claim(event.get("queue", "jobs"))
    if task is None:
        return {"task": None}
    try:
        bucket, key, output = read(task.body)
    except ValueError as error:
        return failed(task, 422, "malformedTask", error)
    try:
        photo = storage.download(bucket, key)
    except storage.NotFound as error:
        return failed(task, 424, "noSuchPhoto", error)
    model = b"" if classifier.is_loaded() else storage.download(*MODEL)
    mark("bytes ready")
    try:
        result = {"task": task.id, **classifier.classify(model, photo)}
    except classifier.NotAPhoto as error:
        return failed(task, 422, "notAPhoto", error)
    try:
        storage.upload_url(output, json.dumps(result).encode(), timeout=STORING)
    except (OSError, ValueError) as error:
        return failed(task, 502, "notStored", error)
    mark("result stored")
    task.done()
    mark("task done")
    return result


def read(body):
    """(bucket, key, output) of a task. Raises ValueError."""
    members = json.loads(body)
    if not isinstance(members, dict):
        raise ValueError("a task is a JSON object")
    fields = [members.get(name) for name in ("bucket", "key", "output")]
    if not all(isinstance(field, str) and field for field in fields):
        raise ValueError('a task has "bucket", "key" and "output"')
    return fields


def failed(task, status, code, error):
    """The task stays in the queue, for others or for its dead-letter queue."""
    print(f"task {task.id}: {code}: {error}", flush=True)
    return status, {}, {"task": task.id, "error": code, "message": str(error)}
