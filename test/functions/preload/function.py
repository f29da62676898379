"""Runs programs that know nothing of headstart: {"app": [["run", program, argument, …], …]}."""

import subprocess


def handler(event):
    return {"steps": [run(command) for _, *command in event.get("app", [])]}


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=8, check=False)
    return {"status": done.returncode, "out": done.stdout, "err": done.stderr}
