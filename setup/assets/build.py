#!/usr/bin/python3
"""Makes what the example application needs: its packages, its model and its photos.

    python3 setup/assets/build.py --out .headstart/assets

writes
    site-packages/                 numpy, onnxruntime, pillow, for the application's bundle
    models/efficientnet-lite0.onnx EfficientNet-Lite0 with ImageNet weights and class names, fp32
    inputs/chelsea.png, coffee.png photographs of a cat and of a cup of espresso, about 5 MB each

Does nothing when they are there and their recipe (this folder and the application's requirements) has not changed: then
it needs no network. `--describe` says what it would do and how much that downloads.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
APP_REQUIREMENTS = HERE.parent.parent / "apps" / "imgrec" / "requirements.txt"
BUILD_REQUIREMENTS = HERE / "requirements.txt"
PRODUCTS = ["models/efficientnet-lite0.onnx", "inputs/chelsea.png", "inputs/coffee.png", "site-packages/numpy"]
DOWNLOAD_MB = 90
DISK_MB = 130

# Parts of packages that inference does not import: they would only make the application's bundle larger.
UNUSED = [
    "bin",
    "numpy/f2py",
    "numpy/testing",
    "numpy/**/tests",
    "onnxruntime/backend",
    "onnxruntime/datasets",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "**/*.pyi",
    "**/*.lib",
    "**/*.a",
    "**/include",
]


class BuildFailed(Exception):
    """What went wrong and how to mend it, for a person."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where the assets go")
    parser.add_argument("--describe", action="store_true", help="print what would be done, as JSON, and do nothing")
    options = parser.parse_args()
    out = options.out.resolve()
    recipe = recipe_digest()
    done = is_done(out, recipe)
    if options.describe:
        print(json.dumps({"done": done, "download_mb": 0 if done else DOWNLOAD_MB, "disk_mb": 0 if done else DISK_MB}))
        return
    if done:
        print(f"assets: {out} is up to date")
        return
    try:
        build(out, recipe)
    except BuildFailed as error:
        sys.exit(f"assets: {error}")


def recipe_digest():
    """Changes when the assets have to be made again: with a file of this folder, the requirements, or Python."""
    digest = hashlib.sha256(sys.version.encode())
    for path in [*sorted(HERE.glob("*.py")), BUILD_REQUIREMENTS, APP_REQUIREMENTS]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def is_done(out, recipe):
    stamp = out / "recipe"
    return stamp.is_file() and stamp.read_text() == recipe and all((out / product).exists() for product in PRODUCTS)


def build(out, recipe):
    (out / "recipe").unlink(missing_ok=True)
    tools = out / "build"
    shutil.rmtree(tools, ignore_errors=True)
    print(f"assets: making packages, model and photos in {out} (about {DOWNLOAD_MB} MB to download)", flush=True)
    site_packages = out / "site-packages"
    shutil.rmtree(site_packages, ignore_errors=True)
    install(APP_REQUIREMENTS, site_packages)
    prune(site_packages)
    install(BUILD_REQUIREMENTS, tools)
    path = os.pathsep.join([str(site_packages), str(tools)])
    command = [sys.executable, str(HERE / "convert.py"), str(out)]
    if subprocess.run(command, env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}).returncode != 0:
        raise BuildFailed("the model or the photos could not be made: see the lines above")
    shutil.rmtree(tools)
    (out / "recipe").write_text(recipe)


def install(requirements, target):
    """Installs exactly what the file lists, as wheels, into a folder of its own: nothing of the system changes."""
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True).returncode != 0:
        raise BuildFailed(f"{sys.executable} has no pip: install it (Debian: apt-get install python3-pip)")
    quiet = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
    wheels = ["--only-binary", ":all:", "--no-deps", "--no-compile", "--upgrade"]
    result = subprocess.run([*pip, "install", *quiet, *wheels, "--target", str(target), "-r", str(requirements)])
    if result.returncode != 0:
        raise BuildFailed("pip could not install the packages above: check the network and pip's index settings")


def prune(site_packages):
    for pattern in UNUSED:
        for path in list(site_packages.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists():
                path.unlink()


if __name__ == "__main__":
    main()
