"""Tasks of a queue (SQS), the same with and without headstart.

    import tasks

    task = tasks.claim("jobs")   # None when there is none
    work(task.body)
    task.done()                  # only now it leaves the queue

A task that is claimed and not done comes back after the queue's visibility timeout. In a headstart sandbox the
initscript may have claimed one already; else the bridge does it, with credentials that this program never sees.
Elsewhere (or with HEADSTART_DIRECT=1) a client of its own does, configured by HEADSTART_SQS_ENDPOINT,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION.

Functions raise QueueError, which is an OSError.
"""

from tasks._library import Task, Tasks
from tasks.errors import NoSuchQueue, QueueError

_default = Tasks()

claim = _default.claim

__all__ = ["NoSuchQueue", "QueueError", "Task", "Tasks", "claim"]
