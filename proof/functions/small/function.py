import storage


def handler(event):
    return {"number": event["number"], "bytes": len(storage.download("inputs", "small"))}
