"""A process of its own that detects on request, so that the fake driver never stays loaded in the tests' process.

Reads pickled (environment, Surroundings, processes) from stdin; writes the pickled Detection, or the traceback as text, to stdout.
"""

import os
import pickle
import sys
import traceback

from runlocal.probes.detect import detect

if __name__ == "__main__":
    while True:
        try:
            environment, surroundings, processes = pickle.load(sys.stdin.buffer)
        except EOFError:
            break
        os.environ.update(environment)
        try:
            answer: object = detect(processes=processes, surroundings=surroundings)
        except Exception:  # noqa: BLE001 - the test that asked shows it
            answer = traceback.format_exc()
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()
