import subprocess
import sys
import textwrap
import unittest
from pathlib import Path

from headstart.stack import roomy

PACKAGES = str(Path(__file__).resolve().parents[1])

# Prints how many sizes the process has at different depths: with a chunk of frames more it is longer.
SIZES = """
    from headstart.stack import roomy

    with open("/proc/self/statm") as statm:
        def size(depth):
            if depth > 0:
                return size(depth - 1)
            statm.seek(0)
            return statm.read().split()[0]

        def sizes():
            return {size(depth) for depth in range(0, 600, 5)}

        CALL(sizes)
        print(len(CALL(sizes)))
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
        self.assertEqual(count_sizes("roomy"), 1)

    def test_without_it_depths_map_more_memory(self):
        if sys.version_info >= (3, 11):
            self.assertGreater(count_sizes("(lambda call: call())"), 1)


def count_sizes(call):
    program = textwrap.dedent(SIZES).replace("CALL", call)
    done = subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": PACKAGES}, capture_output=True, timeout=30)
    return int(done.stdout)
