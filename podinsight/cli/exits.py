"""Exit codes, and which error ends with which."""

from typing import Final

from podinsight.domain.identity import InvalidUrl
from podinsight.errors import ConfigError, PodinsightError, Unavailable

OK: Final = 0
FAILED: Final = 1
WRONG_USE: Final = 2
NOT_UP: Final = 3
WAITS: Final = 4
DECLINED: Final = 5
UNPROVEN: Final = 6
INTERRUPTED: Final = 130

HELP: Final = """\
\b
Exit codes:
  0    all well
  1    some of the work failed, or a check found something
  2    wrong use: a bad option, a bad setting, a bad URL, an unknown id
  3    the stack, or a part of it that the command needs, is not up
  4    transcriptions wait for somebody: to approve what they cost (podrun approve), or to raise a ceiling
  5    somebody was asked to approve the cost and said no: nothing was changed
  6    it is not proven that no gpu worker is left (podrun emergency-shutdown)
  130  interrupted
"""


class CommandError(PodinsightError):
    """Ends a command with this text and exit code."""

    def __init__(self, message: str, exit_code: int = WRONG_USE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def exit_code(error: PodinsightError) -> int:
    """The exit code that an error ends with when nobody handles it."""
    known = getattr(error, "exit_code", None)
    if isinstance(known, int):
        return known
    if isinstance(error, ConfigError | InvalidUrl):
        return WRONG_USE
    return NOT_UP if isinstance(error, Unavailable) else FAILED
