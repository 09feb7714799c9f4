"""Other programs' answers, bounded in time and size."""

import os

_LONGEST_BYTES = 1 << 18
_SECONDS = 10.0


def answer(*words: str, seconds: float = _SECONDS) -> str | None:
    """What the command prints on standard output, at most 256 KiB of it; None where it is not there, fails or takes too long."""
    import subprocess
    import threading

    try:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"}, start_new_session=True
        )
    except (OSError, ValueError):
        return None
    assert process.stdout is not None
    timer = threading.Timer(seconds, _end, (process.pid,))
    timer.start()
    try:
        text = process.stdout.read(_LONGEST_BYTES + 1)
        process.stdout.close()  # a program that prints more ends by that
        code = process.wait()
    finally:
        timer.cancel()
    return None if code or len(text) > _LONGEST_BYTES else text.decode("utf-8", "replace")


def _end(pid: int) -> None:
    """Ends the command and whatever it started, which may hold its output open."""
    import signal

    try:
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGTERM)
    except OSError:
        pass  # it has ended
