"""The clients' probes (test/functions/clients), built and started outside of a sandbox."""

import os
import shutil
import subprocess

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
PROBES = os.path.join(ROOT, "test/functions/clients")


def start(language, folder, socket):
    """Starts a probe on a bridge's socket. Its files are put into `folder`."""
    environment = {**os.environ, "HEADSTART_SOCKET": socket, "PYTHONPATH": f"{ROOT}/clients/python:{PROBES}/python"}
    output = open(os.path.join(folder, "output"), "w")
    with output:
        return subprocess.Popen(
            COMMANDS[language](folder), cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )


def python(_folder):
    return ["/usr/bin/python3", "-m", "headstart.runtime", "probe:handler"]


def c(folder):
    program = os.path.join(folder, "probe")
    client = f"{ROOT}/clients/c"
    sources = [f"{PROBES}/c/probe.c", f"{client}/headstart_client.c"]
    subprocess.run(["cc", "-std=c11", "-O1", "-g", *SANITIZE, f"-I{client}", *sources, "-o", program], check=True)
    return [program]


def rust(_folder):
    subprocess.run(["cargo", "build", "-q", "-p", "headstart", "--example", "probe"], cwd=ROOT, check=True)
    return [f"{ROOT}/target/debug/examples/probe"]


def node(folder):
    os.mkdir(f"{folder}/node_modules")
    os.symlink(f"{ROOT}/dist/clients/node", f"{folder}/node_modules/headstart")
    shutil.copy(f"{PROBES}/node/probe.mjs", folder)
    # The runtime's own folder is not below the probe's, whose module is the same nevertheless.
    return ["node", "--preserve-symlinks", f"{ROOT}/dist/clients/node/runtime.js", "probe.mjs"]


# The C client, whose memory nothing else checks.
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-pthread"]
COMMANDS = {"c": c, "node": node, "python": python, "rust": rust}
