"""Energy and CO2 of a training, as codecarbon measures or estimates them, without a network."""

from __future__ import annotations

import json
import logging
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate.utils import gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hubtools.errors import UsageError
from hubtools.records import write_json
from hubtools.records.training import Emissions

if TYPE_CHECKING:
    from codecarbon.output_methods.emissions_data import EmissionsData


class EmissionsTracker(TrainerCallback):
    """Measures from the first to the last step, on each machine once.

    What a training that was killed has used up to its last checkpoint counts as well: it is kept beside the
    checkpoints.

    Args:
        country: ISO code of three letters.
        runs: folder of the checkpoints.

    Raises:
        UsageError: a country whose electricity codecarbon does not know.
    """

    def __init__(self, country: str, runs: Path) -> None:
        from codecarbon import OfflineEmissionsTracker
        from codecarbon.input import DataSource
        from codecarbon.output_methods.base_output import BaseOutput

        logging.getLogger("codecarbon").setLevel(logging.ERROR)  # before it reads what log_level says
        self.country, self.runs = country.upper(), runs
        if self.country not in DataSource().get_global_energy_mix_data():  # type: ignore[no-untyped-call]
            raise UsageError(
                "--emissions_country", expected="an ISO code of three letters that codecarbon knows, such as USA",
                found=country, next="hubtools finetune TASK --emissions --emissions_country USA",
            )  # fmt: skip
        # In place of codecarbon's usual output, a CSV file: the numbers are kept beside the checkpoints.
        output = BaseOutput()
        output.out = self._note  # type: ignore[method-assign]
        self.tracker = OfflineEmissionsTracker(
            country_iso_code=self.country, output_methods=[], output_handlers=[output], log_level="error"
        )
        self.used = {"co2_kg": 0.0, "energy_kwh": 0.0}
        self.before = dict(self.used)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if state.is_local_process_zero:
            if self._file(args).exists():
                self.before = json.loads(self._file(args).read_text("utf-8"))
            self.tracker.start()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        if state.is_local_process_zero:
            self.tracker.flush()
            write_json(self._file(args), self.used)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if state.is_local_process_zero:
            self.tracker.stop()

    def gather(self) -> Emissions:
        """Return the sum over all machines; every process must call this."""
        # A process that measures nothing adds zeros: each machine is counted once.
        machines: list[dict[str, float]] = gather_object([self.used])
        return Emissions(
            co2_kg=sum(machine["co2_kg"] for machine in machines),
            energy_kwh=sum(machine["energy_kwh"] for machine in machines),
            country=self.country,
            tool=f"codecarbon {version('codecarbon')}",
        )

    def _file(self, args: TrainingArguments) -> Path:
        return self.runs / f"emissions-{args.process_index}.json"

    def _note(self, total: EmissionsData, delta: EmissionsData) -> None:
        """Take what codecarbon reports when it is flushed or stopped: ``total`` since the start of this process."""
        self.used = {
            "co2_kg": self.before["co2_kg"] + float(total.emissions),
            "energy_kwh": self.before["energy_kwh"] + float(total.energy_consumed),
        }
