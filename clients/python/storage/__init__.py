"""Object storage, the same with and without headstart.

    import storage

    weights = storage.download("models", "resnet50.onnx")

In a headstart sandbox, what the initscript fetched ahead is there at once and without a copy; whatever it did not
fetch, the bridge fetches, with credentials that this program never sees. Elsewhere (or with HEADSTART_DIRECT=1) a
client of its own does the work, configured by HEADSTART_S3_ENDPOINT, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
AWS_REGION.

Functions raise StorageError (NotFound, Forbidden), which are OSErrors.
"""

from storage._library import Forbidden, NotFound, Storage, StorageError

_default = Storage()

download = _default.download
download_file = _default.download_file
download_stream = _default.download_stream
list_keys = _default.list_keys
delete = _default.delete
upload = _default.upload
upload_stream = _default.upload_stream
upload_url = _default.upload_url

__all__ = [
    "Forbidden",
    "NotFound",
    "Storage",
    "StorageError",
    "delete",
    "download",
    "download_file",
    "download_stream",
    "list_keys",
    "upload",
    "upload_stream",
    "upload_url",
]
