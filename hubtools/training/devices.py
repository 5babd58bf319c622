"""What a training runs on, and what was measured there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hubtools.records.figures import Estimate, Figure, describe_seconds, read_figures

if TYPE_CHECKING:
    import torch

MEASURED = Path(__file__).with_name("figures.json")  # what benchmarks have measured
KEPT = "figures.json"  # in the work folder: what trainings there have measured


def describe_device(device: torch.device) -> str:
    """Return what a training ran on, as the card names it."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' * (threads > 1)}"


def find_device() -> torch.device:
    """Return the device that a training takes unless a flag says otherwise."""
    import torch

    return torch.accelerator.current_accelerator() or torch.device("cpu")


def list_figures(work_dir: Path) -> list[Figure]:
    """Return what is known of speed: what came with the package, and what trainings in the work folder measured."""
    return read_figures(MEASURED, work_dir / KEPT)


def describe_estimate(estimate: Estimate | None, device: str) -> str:
    """Return in words what a training is expected to take."""
    if estimate is None:
        return f"how long this takes on {device} is unknown: nothing like it was measured there"
    needs = f"about {describe_seconds(estimate.seconds)} and {estimate.peak_gib:.1f} GiB"
    return f"{needs}, if patience does not end it sooner"
