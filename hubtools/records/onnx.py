"""``onnx/parity.json``: what the ONNX files of a model were made of, how they answer, and how fast."""

from __future__ import annotations

from dataclasses import dataclass, field

from hubtools.records import Record
from hubtools.records.thresholds import Thresholds

FOLDER = "onnx"  # beside the weights
MODEL = "model.onnx"
QUANTISED = "model_quantized.onnx"
PARITY = "parity.json"
LOGITS = "logits"  # the output of a model of one task; one of several tasks has an output a task, named by it


@dataclass(frozen=True, kw_only=True)
class OnnxFile(Record):
    """A file as it was written."""

    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Fp32Parity(Record):
    """How far the answers of ``model.onnx`` are from torch's, on the whole test split.

    Attributes:
        answers: texts, or tokens where each has a label of its own.
        differing: answers whose likeliest label is another.
        largest_difference: of a probability.
    """

    texts: int
    answers: int
    differing: int
    largest_difference: float


@dataclass(frozen=True, kw_only=True)
class Int8Scores(Record):
    """The primary metric on the whole test split, and the threshold of the int8 file.

    Attributes:
        thresholds: chosen on the validation split by the answers of the int8 file; None where none is chosen.
        curve: what each threshold gives on the test split, by its answers; empty where the head has none.
    """

    key: str
    title: str
    torch: float
    int8: float
    thresholds: Thresholds | None
    curve: list[tuple[float, float, float]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class TaskParity(Record):
    """How both files answer one task.

    Attributes:
        scores_of: fingerprint of the metrics.json whose scores and target these are.
    """

    scores_of: str
    fp32: Fp32Parity
    int8: Int8Scores


@dataclass(frozen=True, kw_only=True)
class Milliseconds(Record):
    """Of one call with one text: the median, and what 95 of 100 calls stay below."""

    p50: float
    p95: float


@dataclass(frozen=True, kw_only=True)
class Latency(Record):
    """Calls with one text of so many tokens on so many threads, by "torch", "fp32" and "int8"."""

    tokens: int
    threads: int
    calls: dict[str, int]
    milliseconds: dict[str, Milliseconds]


@dataclass(frozen=True, kw_only=True)
class Speed(Record):
    """How fast the files answer on one machine."""

    processor: str
    latencies: list[Latency]


@dataclass(frozen=True, kw_only=True)
class OnnxExport(Record):
    """The whole of ``onnx/parity.json``.

    Attributes:
        weights_sha256: of the files of weights that it was made of, by their names.
        weights_bytes: of these files together.
        files: the ONNX files of this release, by their names.
        int8_bytes: of the int8 file, also where it is withheld.
        tasks: by the task, of which a model of several has more than one.
        withheld: why there is no int8 file; "" where there is one.
        versions: of the libraries that made the files.
    """

    weights_sha256: dict[str, str]
    weights_bytes: int
    files: dict[str, OnnxFile]
    int8_bytes: int
    tasks: dict[str, TaskParity]
    withheld: str
    speed: Speed
    versions: dict[str, str]
