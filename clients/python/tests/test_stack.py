import subprocess
import sys
import textwrap
import unittest
from pathlib import Path

from headstart.stack import roomy

PACKAGES = str(Path(__file__).resolve().parents[1])

# Prints how many mappings the process has at different depths: a chunk of frames is one.
MAPPINGS = """
    from headstart.stack import roomy

    with open("/proc/self/maps") as maps:
        def mappings(depth):
            if depth > 0:
                return mappings(depth - 1)
            maps.seek(0)
            return sum(1 for _ in maps)

        def all_depths():
            return {mappings(depth) for depth in range(0, 600, 5)}

        roomy(all_depths)
        print(len(roomy(all_depths)))
"""


class Stack(unittest.TestCase):
    def test_gives_and_raises_what_the_call_does(self):
        self.assertEqual(roomy(divmod, 7, 3), (2, 1))
        with self.assertRaises(ZeroDivisionError):
            roomy(divmod, 7, 0)

    def test_recursion_ends_where_it_does_without(self):
        def down(depth):
            return down(depth + 1)

        with self.assertRaises(RecursionError):
            roomy(down, 0)
        self.assertEqual(roomy(roomy, divmod, 7, 3), (2, 1))

    def test_no_depth_of_calls_maps_more_memory(self):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(MAPPINGS)],
            env={"PYTHONPATH": PACKAGES},
            capture_output=True,
            text=True,
            timeout=30,
        )
        self.assertEqual(done.stdout.strip(), "1", done.stderr)
