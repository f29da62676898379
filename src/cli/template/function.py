"""Says hello, and how large the example photo is."""

import storage


def handler(event):
    # The initscript has fetched this while Python was starting. Without it, this line fetches it.
    photo = storage.download("inputs", "chelsea.png")
    return {"hello": event.get("name", "world"), "photo_bytes": len(photo)}
