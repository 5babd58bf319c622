"""The loss of a step, read when it is there anyway: no step waits for the device to have computed it."""

from __future__ import annotations

import torch


class LateLoss:
    """Losses on their way from the device.

    On a CPU a loss is known at once. On a GPU it is copied while the next step begins, and read with that step or a
    later one.
    """

    def __init__(self) -> None:
        self._pending: tuple[torch.Tensor, torch.cuda.Event, int] | None = None

    def read(self, loss: torch.Tensor, step: int) -> tuple[float, int] | None:
        """Take the loss of a step; return one that is known by now with its step, None where there is none yet."""
        if not loss.is_cuda:
            return float(loss), step
        known = None
        if self._pending:
            value, copied, of_step = self._pending
            if not copied.query():  # type: ignore[no-untyped-call]
                return None
            known = float(value), of_step
        value = torch.empty((), dtype=loss.dtype, pin_memory=True)
        value.copy_(loss.detach(), non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()
        self._pending = value, copied, step
        return known
