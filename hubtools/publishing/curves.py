"""The curves of a training as a TensorBoard event file, which the Hub shows on the model's page.

It is made of ``training.json`` alone. The files that the training itself writes name this machine, and hold all its
arguments, paths among them.
"""

from __future__ import annotations

import io

from hubtools.records.training import TrainingRun

# The Hub knows an event file by its name; where TensorBoard has a time and a host, ours has neither.
EVENTS = "runs/training/events.out.tfevents.0.hubtools"


def list_curves(training: TrainingRun) -> dict[str, bytes]:
    """Return the event file by its path in the repo; nothing where the training logged nothing."""
    return {EVENTS: format_events(training)} if training.history else {}


def format_events(training: TrainingRun) -> bytes:
    """Return the event file of a training: the same bytes for the same record."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    written = io.BytesIO()
    writer = RecordWriter(written)
    writer.write(Event(file_version="brain.Event:2").SerializeToString())
    for entry in training.history:
        values = [
            Summary.Value(tag=_name_curve(key), simple_value=float(value))
            for key, value in entry.items()
            if key != "step"
        ]
        writer.write(Event(step=int(entry["step"]), summary=Summary(value=values)).SerializeToString())
    return written.getvalue()


def _name_curve(key: str) -> str:
    # As transformers names them: a page of TensorBoard is one for the training and one for the validation split.
    return f"eval/{key.removeprefix('eval_')}" if key.startswith("eval_") else f"train/{key}"
