"""What can go wrong, as one tree.

HubtoolsError              everything below; caught once, in ``cli.main``
├── UsageError             the command line or configuration asks for something that does not exist
├── HubUnavailable         no token, no connection, or the Hub refused
├── SourceError            a dataset source cannot be read or lacks what the task needs
├── LicenceRefused         a source must not be handed on
├── MissingStage           an earlier stage has not run
├── DamagedRecord          a JSON file does not hold the keys and types that it should
├── TrainingFailed         the training process ended without a model
├── ExportFailed           a model has no ONNX form that answers as it does
├── CardRejected           a card that the Hub would refuse
├── VerificationFailed     a published repo does not answer as it did here
├── WorseThanPublished     a model that answers worse than the one that it would replace
└── StorageError           a disk that is full or read-only

A message names the subject, what was expected, what was found, and the next command.
"""

from __future__ import annotations


def shorten(text: object, most: int = 400) -> str:
    """Return ``text`` for a message: on one line, and of at most ``most`` characters before " …"."""
    # Messages of libraries may be tracebacks of several lines, or quote a whole row.
    line = " ".join(str(text).split())
    return line if len(line) <= most else line[:most] + " …"


def read_first_line(error: object) -> str:
    """Return the first line of an error's message; the name of its type where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class HubtoolsError(Exception):
    """Base of every error that hubtools raises on purpose.

    Args:
        subject: what the message is about, such as ``"Dataset 'toxicity'"``.
        expected: what would have been right.
        found: what was there instead.
        next: the command or action that helps.
    """

    exit_code = 1  # of the command that ends with it

    def __init__(self, subject: str, *, expected: str = "", found: str = "", next: str = "") -> None:
        self.subject, self.expected, self.found, self.next = subject, expected, found, next
        super().__init__(subject)

    def __str__(self) -> str:
        # Three words of one width, so that what is expected and what is there stand below each other.
        lines = [self.subject.rstrip(".") + "."]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.found:
            lines.append(f"  found:    {self.found}")
        if self.next:
            lines.append(f"  next:     {self.next}")
        return "\n".join(lines)


class UsageError(HubtoolsError):
    exit_code = 2  # as with click's own errors about flags


class HubUnavailable(HubtoolsError):
    pass


class SourceError(HubtoolsError):
    pass


class LicenceRefused(HubtoolsError):
    pass


class MissingStage(HubtoolsError):
    pass


class DamagedRecord(HubtoolsError):
    pass


class TrainingFailed(HubtoolsError):
    pass


class ExportFailed(HubtoolsError):
    pass


class CardRejected(HubtoolsError):
    pass


class VerificationFailed(HubtoolsError):
    pass


class WorseThanPublished(HubtoolsError):
    pass


class StorageError(HubtoolsError):
    pass
