"""What can go wrong, in words for people, and the exit codes a script reads."""

from enum import IntEnum, StrEnum


class Exit(IntEnum):
    YES = 0
    NO = 1
    USAGE = 2
    CANNOT_ANSWER = 3
    BUG = 70
    INTERRUPTED = 130
    PIPE_CLOSED = 141


class Code(StrEnum):
    UNKNOWN_MODEL = "unknown_model"
    UNKNOWN_GPU = "unknown_gpu"
    UNKNOWN_QUANT = "unknown_quant"
    UNKNOWN_RUNTIME = "unknown_runtime"
    NOT_COMPUTED = "not_computed"
    BAD_VALUE = "bad_value"
    BAD_FILE = "bad_file"
    NO_GPU = "no_gpu"


class Problem(Exception):
    """An error that a person can act on: what is wrong, what to do, and the nearest things that exist.

    `Code.BAD_VALUE` is wrong usage (exit 2); every other code means that no answer can be given (exit 3).
    """

    def __init__(self, code: Code, message: str, hint: str = "", candidates: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.code, self.message, self.hint, self.candidates = code, message, hint, candidates

    @property
    def exit(self) -> Exit:
        return Exit.USAGE if self.code is Code.BAD_VALUE else Exit.CANNOT_ANSWER
