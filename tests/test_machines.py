"""What a shell, a container or a scheduler leaves behind changes no result and hangs no command."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from as_user import Command, own_rows
from typer.main import get_command

from hubtools.cli import app
from hubtools.curation.build import CurationInputs, curate
from hubtools.curation.user_data import choose_sources
from hubtools.localhub import Hub
from hubtools.rows import Columns
from hubtools.tasks.jailbreak import JAILBREAK
from hubtools.workdir import TaskFolder


@dataclass(frozen=True)
class Setting:
    """What stands in the environment of a command.

    Attributes:
        env: variables; ``{home}`` is a folder of this user's own.
        shell: what a shell does before the command, such as a umask.
        files: by their paths below the user's home.
        said: "" where every command does what it does elsewhere; else what those say that cannot.
    """

    env: Mapping[str, str] = field(default_factory=dict)
    shell: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    said: str = ""


TORCHRUN = {
    "RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "8", "MASTER_ADDR": "10.255.255.1",
    "MASTER_PORT": "29500", "TORCHELASTIC_RUN_ID": "x", "GROUP_RANK": "1",
}  # fmt: skip
SLURM = {
    "SLURM_JOB_ID": "7", "SLURM_PROCID": "1", "SLURM_NTASKS": "4", "SLURM_LOCALID": "1", "SLURM_NNODES": "2",
    "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_STEP_NODELIST": "node[1-2]",
}  # fmt: skip
MPI = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4", "PMI_RANK": "1", "PMI_SIZE": "4", "PMIX_RANK": "1"}
ACCELERATE = {
    "ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_USE_FSDP": "true", "ACCELERATE_MIXED_PRECISION": "fp16",
    "ACCELERATE_CONFIG_FILE": "/nowhere.yaml", "FSDP_VERSION": "2", "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR",
}  # fmt: skip
DEAD = "http://127.0.0.1:9"
PROXIES = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"), DEAD)
OFFLINE = dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE"), "1")
ELSEWHERE = {
    "HF_ENDPOINT": DEAD, "HF_TOKEN": "hf_of_another_hub", "HF_HOME": "/proc/nowhere", "HF_HUB_CACHE": "/proc/nowhere",
    "HF_DATASETS_CACHE": "/proc/nowhere", "HF_TOKEN_PATH": "/proc/nowhere/token", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_ASSETS_CACHE": "/proc/nowhere", "HF_XET_CACHE": "/proc/nowhere", "HF_MODULES_CACHE": "/proc/nowhere",
}  # fmt: skip
LATIN1 = {"LC_ALL": "de_DE.ISO-8859-1", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
POSIX = {"LC_ALL": "POSIX", "LANG": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NOISE = {"HF_DEBUG": "1", "TRANSFORMERS_VERBOSITY": "debug", "DATASETS_VERBOSITY": "debug", "HF_HUB_VERBOSITY": "debug"}
ACCELERATE_FILE = "cache/huggingface/accelerate/default_config.yaml"  # below the user's cache

SETTINGS = {
    "torchrun": Setting(TORCHRUN),
    "slurm": Setting(SLURM),
    "mpi": Setting(MPI),
    "accelerate": Setting(ACCELERATE),
    "accelerate's file": Setting(files={ACCELERATE_FILE: "distributed_type: DEEPSPEED\ndeepspeed_config: {}\n"}),
    "accelerate's broken file": Setting(files={ACCELERATE_FILE: "distributed_type: [broken\n"}),
    "proxies": Setting(PROXIES),
    "a socks proxy": Setting({"ALL_PROXY": "socks5://127.0.0.1:9", "all_proxy": "socks5://127.0.0.1:9"},
                             said="The proxy that the environment names cannot be used"),
    "no proxy for nobody": Setting(PROXIES | {"NO_PROXY": "example.org", "no_proxy": "example.org"}),
    "latin-1": Setting(LATIN1),
    "posix": Setting(POSIX),
    "a locale that is not there": Setting({"LC_ALL": "xx_YY.UTF-9", "LANGUAGE": "xx"}),
    "ascii streams": Setting({"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}),
    "offline": Setting(OFFLINE),
    "another Hub": Setting(ELSEWHERE),
    "noise": Setting(NOISE),
    "a number that is none": Setting({"HF_HUB_DOWNLOAD_TIMEOUT": "soon"}, said="HF_HUB_DOWNLOAD_TIMEOUT"),
    "a home that is not there": Setting({"HOME": "/nowhere/at all"}),
    "no home": Setting(shell="unset HOME XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME XDG_STATE_HOME"),
    "a home that takes nothing": Setting({"HOME": "/proc", "XDG_CACHE_HOME": "/proc", "XDG_CONFIG_HOME": "/proc"}),
    "temporary files nowhere": Setting({"TMPDIR": "/nowhere", "TMP": "/nowhere", "TEMP": "/nowhere"}),
    "umask 077": Setting(shell="umask 077"),
    "no input": Setting(shell="exec <&-"),
    "warnings are errors": Setting({"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"}),
    "optimised": Setting({"PYTHONOPTIMIZE": "2", "PYTHONHASHSEED": "5", "PYTHONDONTWRITEBYTECODE": "1"},
                         said="PYTHONOPTIMIZE"),
    "threads": Setting({"OMP_NUM_THREADS": "none", "MKL_NUM_THREADS": "0", "TOKENIZERS_PARALLELISM": "maybe"}),
    "other devices": Setting({"CUDA_VISIBLE_DEVICES": "7,8", "ACCELERATE_TORCH_DEVICE": "tpu"}),
    "a small terminal": Setting({"COLUMNS": "7", "LINES": "1", "TERM": "dumb", "FORCE_COLOR": "1", "CI": "1"}),
    "another time zone": Setting({"TZ": "Pacific/Kiritimati", "SOURCE_DATE_EPOCH": "0"}),
    "few files": Setting(shell="ulimit -n 64"),
    "a folder that is gone": Setting(shell="mkdir gone.$$; cd gone.$$; rmdir ../gone.$$", said="folder that is gone"),
}  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """A user's machine: a home, the Hub, and a work folder of its own for each setting."""

    command: Command
    hub: Hub
    folder: Path
    source: Path

    def run(self, setting: Setting, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run ``hubtools arguments`` as this setting has it."""
        home = self.folder / name
        home.mkdir(exist_ok=True)
        for path, content in setting.files.items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_text(content)
        own = {"HOME": str(home), **{f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG")}}
        words = [self.command.path, *map(str, arguments)]
        line = f"{setting.shell or ':'}; exec {shlex.join(words)}"
        env = own | {key: value.format(home=home) for key, value in setting.env.items()}
        return self.command.run("bash", "-c", line, env=env, cwd=home, check=False, timeout=120)

    def flags(self, name: str) -> tuple[str, ...]:
        return ("--hub", "local", "--hub-dir", str(self.hub.data_dir), "--work-dir", str(self.folder / name / "work"))

    def look(self, setting: Setting, name: str) -> dict[str, object]:
        """What the stages of a job do: their exit codes, what they print, and what they write."""
        steps = {
            "curate": ("curate", "jailbreak", "--source", self.source),
            "finetune": ("finetune", "jailbreak", "--max_steps", 1, "--dry-run"),
        }
        found: dict[str, object] = {}
        for step, arguments in steps.items():
            done = self.run(setting, name, *arguments, *self.flags(name))
            assert "Traceback" not in done.stderr, done.stderr
            output = done.stdout.replace(str(self.folder / name), "HOME")
            errors = [line for line in done.stderr.splitlines() if line.startswith("Error")] if done.returncode else []
            found[step] = (done.returncode, output, errors)
            if setting.said and done.returncode:
                assert setting.said in done.stderr
        for file in sorted((self.folder / name / "work").rglob("*.parquet")):
            found[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
        facts = self.folder / name / "work" / "jailbreak" / "facts.json"
        found["facts"] = json.loads(facts.read_text(encoding="utf-8")) if facts.exists() else None
        return found


@pytest.fixture(scope="module")
def machine(hubtools: Command, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    folder = tmp_path_factory.mktemp("machine")
    source = own_rows(folder / "Zeilen – 行.csv")
    text = source.read_text(encoding="utf-8").replace("soup", "Gemüsesuppe 湯 🍲")
    source.write_text(text, encoding="utf-8")
    return Machine(hubtools, hub, folder, source)


@pytest.fixture(scope="module")
def usual(machine: Machine) -> dict[str, object]:
    """What comes of it where nothing is unusual."""
    found = machine.look(Setting(), "usual")
    assert {"train-00000-of-00001.parquet", "test-00000-of-00001.parquet"} <= set(found)
    return found


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_changes_no_result_or_is_named(name: str, machine: Machine, usual: dict[str, object]) -> None:
    found = machine.look(SETTINGS[name], name.replace("'", ""))
    if SETTINGS[name].said:
        steps = [step for step, outcome in found.items() if isinstance(outcome, tuple)]
        ended = [step for step in steps if found[step][0]]  # type: ignore[index]
        assert ended
        assert {step: found[step] for step in steps if step not in ended}.items() <= usual.items()
    else:
        assert found == usual


# Every command, as cheap as it comes: a dry run, or without what it needs.
COMMANDS: dict[str, tuple[object, ...]] = {
    "check": ("jailbreak", "--source", "SOURCE"),
    "curate": ("jailbreak", "--source", "SOURCE"),
    "push-dataset": ("jailbreak", "--source", "SOURCE", "--license", "mit", "--dry-run"),
    "finetune": ("jailbreak", "--max_steps", 1, "--dry-run"),
    "search": ("jailbreak", "--dry-run"),
    "cross-validate": ("jailbreak", "--dry-run"),
    "repeat": ("jailbreak", "--dry-run"),
    "evaluate": ("jailbreak",),
    "robustness": ("jailbreak",),
    "label-errors": ("jailbreak", "--dry-run"),
    "compare": ("jailbreak", "local/none", "local/nobody"),
    "model-card": ("jailbreak",),
    "push-model": ("jailbreak",),
    "verify": ("local/none",),
    "push-space": (),
    "push-collection": (),
    "demo": (),
    "rollback": ("local/none", "--to", "v1"),
    "export": ("jailbreak", "--to", "onnx"),
    "run": ("jailbreak", "--dry-run"),
    "init-task": ("weather", "--labels", "sun,rain", "--output", "weather.yaml"),
    "hub": ("status", "--hub-dir", "HUB"),
}
EVERYTHING = Setting(
    TORCHRUN | SLURM | MPI | ACCELERATE | PROXIES | OFFLINE | ELSEWHERE | POSIX
    | {"TMPDIR": "/nowhere", "OMP_NUM_THREADS": "none", "COLUMNS": "7"},
    shell="umask 077; exec <&-",
)  # fmt: skip


def test_everything_at_once_changes_no_row(machine: Machine, tmp_path: Path) -> None:
    sources, label_set = choose_sources(JAILBREAK, str(machine.source), Columns(), JAILBREAK.label_set())
    curate(JAILBREAK, TaskFolder(tmp_path / "jailbreak"), CurationInputs(sources, label_set))
    done = machine.run(EVERYTHING, "quick", "curate", "jailbreak", "--source", machine.source, *machine.flags("quick"))
    assert done.returncode == 0, done.stderr
    here, there = (
        {path.name: path.read_bytes() for path in work.rglob("*.parquet")}
        for work in (tmp_path / "jailbreak", machine.folder / "quick" / "work")
    )
    assert here == there
    assert len(here) == 3


@pytest.mark.exhaustive
def test_everything_at_once_changes_nothing_for_any_command(machine: Machine) -> None:
    known = get_command(app).commands  # type: ignore[attr-defined]
    assert set(COMMANDS) == set(known)
    words = {"SOURCE": machine.source, "HUB": machine.hub.data_dir}
    for command, given in COMMANDS.items():
        taken = {option for parameter in known[command].params for option in parameter.opts}
        found = []
        for setting, name in ((Setting(), "calm"), (EVERYTHING, "hostile")):
            own = machine.flags(name)
            flags = [word for i in range(0, len(own), 2) if own[i] in taken for word in own[i : i + 2]]
            arguments = [words.get(str(word), word) for word in given]
            done = machine.run(setting, name, command, *arguments, *flags)
            assert "Traceback" not in done.stderr, done.stderr
            errors = [line for line in done.stderr.splitlines() if line.startswith(("Error", "  "))]
            lines = [*done.stdout.splitlines(), *(errors if done.returncode else [])]
            said = "\n".join(line for line in lines if "ok    disk" not in line and "ok    device" not in line)
            found.append((done.returncode, said.replace(str(machine.folder / name), "HOME")))
        assert found[0] == found[1], command


@pytest.mark.exhaustive
@pytest.mark.parametrize("content", [
    "distributed_type: DEEPSPEED\ndeepspeed_config: {zero_stage: 2}\nnum_processes: 1\n",
    "distributed_type: FSDP\nfsdp_config: {fsdp_sharding_strategy: FULL_SHARD}\nnum_processes: 1\nuse_cpu: false\n",
    "distributed_type: [broken\n", "num_machines: 2\nmain_process_ip: 10.255.255.1\nmachine_rank: 1\n",
], ids=["deepspeed", "fsdp", "broken", "two machines"])  # fmt: skip
def test_a_training_takes_no_configuration_that_accelerate_once_wrote_for_another(
    content: str, hubtools: Command, hub: Hub, machine: Machine, tmp_path: Path
) -> None:
    # Without --hub local: the file lies in the HF_HOME that the environment names.
    home = tmp_path / "hf"
    (home / "accelerate").mkdir(parents=True)
    (home / "accelerate" / "default_config.yaml").write_text(content)
    env = hub.environ | {"HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
    work = tmp_path / "work"
    hubtools("curate", "jailbreak", "--source", machine.source, "--work-dir", work, env=env)
    hubtools(
        "finetune", "jailbreak", "--max_steps", 1, "--work-dir", work, "--base", "hubtools/modernbert-nano", env=env
    )
    assert json.loads((work / "jailbreak" / "training.json").read_text())["processes"] == 1
