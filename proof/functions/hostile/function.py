"""The application of a hostile initscript: takes what comes, or goes on by itself."""

from headstart import HeadstartError, Instance


def handler(event):
    try:
        return {"ok": True, "bytes": len(Instance().recv_msg("result", timeout=event.get("wait", 5)))}
    except HeadstartError as error:
        return {"ok": True, "code": error.code}
