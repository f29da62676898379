"""A folder as a package, for functions whose modules import each other by `from . import …`.

The package finds its own modules first, then ours (`beside`): `storage` and `nosql`.
"""

import importlib.util
import os
import sys

# As the functions' own platforms call it; few import it by this name.
NAME = "function"
BESIDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "beside")


def make(folder):
    """Makes `folder` the package NAME. Returns that name. Raises whatever its __init__.py raises, or SystemExit."""
    folder = os.path.abspath(folder)
    if not os.path.isdir(folder):
        raise SystemExit(f"headstart.runtime: {folder} is no folder")
    start = os.path.join(folder, "__init__.py")
    places = [folder, BESIDE]
    if os.path.isfile(start):
        spec = importlib.util.spec_from_file_location(NAME, start, submodule_search_locations=places)
    else:
        spec = importlib.util.spec_from_loader(NAME, None, is_package=True)
        spec.submodule_search_locations[:] = places
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    if spec.loader is not None:
        spec.loader.exec_module(module)
    return NAME


def event_for(event):
    """The event with what those platforms add to it: a name of the request."""
    if isinstance(event, dict):
        event.setdefault("request-id", os.urandom(16).hex())
    return event
