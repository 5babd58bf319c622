"""What goes wrong ends in one clear message and a non-zero exit, and the mended command completes."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from as_user import REPOSITORY, Command, commits, own_rows
from huggingface_hub import CommitOperationAdd, HfApi

from hubtools.localhub import Hub, find, stop

EXHAUSTIVE = pytest.mark.exhaustive
MESSAGE = re.compile(r"Error: .+\.\n  expected: .+\n(  found:    .+\n)?  next:     .+\n")


def complaint(done: subprocess.CompletedProcess[str], *named: str, notes: str = "") -> str:
    """The message of a command that failed as it should: one, whole, and naming what it is about.

    ``notes``: a pattern of what may stand before it on stderr.
    """
    said = done.stdout + done.stderr
    assert done.returncode in (1, 2), said
    assert "Traceback" not in said
    assert done.stdout == ""
    before, error, message = done.stderr.partition("Error: ")
    assert re.fullmatch(notes, before), said
    assert MESSAGE.fullmatch(error + message), said
    for name in named:
        assert name in message
    return message


def on(hub_dir: Path, work: Path) -> tuple[object, ...]:
    return ("--hub", "local", "--hub-dir", hub_dir, "--work-dir", work)


@pytest.fixture
def own_hub(tmp_path: Path) -> Iterator[Path]:
    """The data folder of a Hub that a test may do anything to."""
    yield tmp_path / "hub"
    stop(tmp_path / "hub")


# --- who asks, and for what


@pytest.mark.parametrize("command", [("push-dataset", "intent"), ("run",), ("push-space",)])
def test_without_a_token_both_ways_out_are_named(hubtools: Command, tmp_path: Path, command: tuple[str, ...]) -> None:
    done = hubtools(*command, "--work-dir", tmp_path / "work", check=False)
    complaint(done, "no Hugging Face token", "hf auth login", "--hub local")
    assert not (tmp_path / "work").exists()


def test_a_wrong_token_is_refused_and_the_right_one_completes(hubtools: Command, hub: Hub, tmp_path: Path) -> None:
    command = ("push-dataset", "intent", "--dataset-name", "by-token", "--work-dir", tmp_path / "work")
    complaint(hubtools(*command, env=hub.environ | {"HF_TOKEN": "hf_wrong"}, check=False), "token", "401", "HF_TOKEN")
    assert not (tmp_path / "work").exists()
    assert hubtools(*command, env=hub.environ).stdout == f"{hub.url}/datasets/local/by-token\n"


def test_an_unknown_task_is_answered_with_the_four(hubtools: Command, flags: tuple[object, ...]) -> None:
    complaint(
        hubtools("curate", "jailbrake", *flags, check=False), "'jailbrake'", "category, pii, jailbreak, intent, all"
    )


def test_an_unknown_label_set_is_answered_with_those_of_the_task(hubtools: Command, flags: tuple[object, ...]) -> None:
    complaint(hubtools("curate", "category", "--label-set", "seed11", *flags, check=False), "seed11", "mmlu14, seed10")


def test_an_unknown_hub_is_refused(hubtools: Command) -> None:
    complaint(hubtools("curate", "intent", "--hub", "mine", check=False), "'mine'", "local", "HF_ENDPOINT")


def test_a_mirror_that_is_not_there_is_named(hubtools: Command, flags: tuple[object, ...], tmp_path: Path) -> None:
    done = hubtools("curate", "intent", *flags, "--mirror", tmp_path / "nowhere", check=False)
    assert re.fullmatch(
        r"Error: Mirror '.*nowhere'\.\n  expected: .*<owner>/<name>/\n  found: .*\n(  next: .*\n)?", done.stderr
    )
    assert (done.returncode, done.stdout) == (2, "")


def test_a_base_model_that_is_not_there_is_named(hubtools: Command, flags: tuple[object, ...]) -> None:
    hubtools("curate", "intent", *flags)
    complaint(hubtools("finetune", "intent", "--base", "no/such", *flags, check=False), "'no/such'", "--base")
    complaint(hubtools("finetune", "intent", "--base", "no such", *flags, check=False), "no such", "name")


def test_a_model_that_is_not_there_cannot_be_verified(hubtools: Command, hub: Hub) -> None:
    done = hubtools("verify", "local/pii_nowhere", "--hub", "local", "--hub-dir", hub.data_dir, check=False)
    complaint(done, "local/pii_nowhere")


# --- sources


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        (
            "mine.csv",
            "prompt,verdict\nhello,benign\n",
            ["lacks a column", "text, label", "prompt, verdict", "--text-column"],
        ),
        (
            "mine.csv",
            "text,label\nhello,benign\nhi,evil\n",
            ["1 bad row of 2", "mine.csv:3", "'evil'", "benign, jailbreak"],
        ),
        pytest.param("mine.csv", "", ["'mine.csv' is empty", "named columns"], marks=EXHAUSTIVE),
        pytest.param("mine.csv", "text,label\n", ["'mine.csv' holds no rows"], marks=EXHAUSTIVE),
        (
            "mine.jsonl",
            '{"text": "a", "label": "benign"}\n{"text": \n',
            ["mine.jsonl:2", "broken JSON", "--skip-bad-rows"],
        ),
        pytest.param(
            "mine.json",
            '[{"text": "a", ',
            ["'mine.json' has no row that can be read", "mine.json[0]: broken JSON"],
            marks=EXHAUSTIVE,
        ),
        pytest.param("mine.parquet", "PAR1 and no more", ["'mine.parquet' is broken parquet"], marks=EXHAUSTIVE),
        pytest.param("mine.csv", None, ["mine.csv", "nothing there"], marks=EXHAUSTIVE),
        pytest.param(
            "mine.csv",
            "text,label\n" + "".join(f"word{i} is new,benign\n" for i in range(40)),
            ["lacks rows", "no row of jailbreak"],
            marks=EXHAUSTIVE,
        ),
    ],
    ids=["column", "label", "empty", "no rows", "JSON lines", "JSON", "parquet", "missing", "one class"],
)
def test_a_bad_source_is_told_apart_and_a_mended_one_completes(
    hubtools: Command, flags: tuple[object, ...], tmp_path: Path, name: str, content: str | None, named: list[str]
) -> None:
    source = tmp_path / name
    if content is not None:
        source.write_text(content)
    done = hubtools("curate", "jailbreak", "--source", source, *flags, check=False)
    # What was dropped, and how the file was read, is said before.
    complaint(done, *named, notes=r"(jailbreak: .*\n)*")
    assert not (tmp_path / "work" / "jailbreak" / "facts.json").exists()
    mended = own_rows(source.with_suffix(".csv"))
    hubtools("curate", "jailbreak", "--source", mended, *flags)
    assert (tmp_path / "work" / "jailbreak" / "facts.json").exists()


def test_bad_rows_can_be_skipped_and_are_counted(hubtools: Command, flags: tuple[object, ...], tmp_path: Path) -> None:
    source = own_rows(tmp_path / "mine.csv")
    source.write_text(source.read_text() + "something,evil\n")
    done = hubtools("curate", "jailbreak", "--source", source, "--skip-bad-rows", "--json", *flags)
    assert json.loads(done.stdout)["jailbreak"]["counts"]["dropped"]["unknown label 'evil'"] == 1


# --- what comes before


def test_each_stage_names_the_one_that_is_missing(
    hubtools: Command, hub: Hub, flags: tuple[object, ...], released: Path, tmp_path: Path
) -> None:
    complaint(hubtools("finetune", "intent", *flags, check=False), "hubtools curate intent")
    hubtools("curate", "intent", *flags)
    complaint(hubtools("evaluate", "intent", *flags, check=False), "training.json", "hubtools finetune intent")
    complaint(hubtools("push-model", "intent", *flags, check=False), "hubtools finetune intent")
    complaint(hubtools("push-space", *flags, check=False), "hubtools push-model category")
    copy = shutil.copytree(released, tmp_path / "copy")
    (copy / "intent" / "metrics.json").unlink()
    done = hubtools("push-model", "intent", *on(hub.data_dir, copy), check=False)
    complaint(done, "metrics.json", "hubtools evaluate intent")


def test_a_model_that_lacks_a_file_of_its_tokenizer_is_not_pushed(
    hubtools: Command, hub: Hub, api: HfApi, released: Path, tmp_path: Path
) -> None:
    work = Path(shutil.copytree(released, tmp_path / "work"))
    (work / "intent" / "model" / "special_tokens_map.json").unlink()
    done = hubtools("push-model", "intent", "--model-name", "lacking-model", *on(hub.data_dir, work), check=False)
    assert done.returncode == 1
    assert "fails 1 of " in done.stderr
    for line in (
        "special_tokens_map.json: the router needs this file",
        "  found: no such file",
        "  next: remove the model folder, then hubtools finetune intent",
        "  next:     do that, then hubtools push-model intent",
    ):
        assert line in done.stderr
    assert not api.repo_exists("local/lacking-model")


def test_scores_of_other_weights_are_not_released(hubtools: Command, hub: Hub, released: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(released, tmp_path / "copy")
    weights = copy / "intent" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    done = hubtools("push-model", "intent", *on(hub.data_dir, copy), check=False)
    complaint(done, "other weights", "hubtools evaluate intent")


# --- disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system of its own: give mount's options, and again to change them."""
    folder = tmp_path / "disk"

    def mount(options: str) -> Path:
        folder.mkdir(exist_ok=True)
        remount = "remount," * os.path.ismount(folder)
        command = ["mount", "-t", "tmpfs", "-o", remount + options, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("needs the right to mount a small file system (root)")
        return folder

    yield mount
    stop(folder / "hub")
    if os.path.ismount(folder):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_file_in_place_of_the_work_folder_is_named(hubtools: Command, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file")
    done = hubtools("curate", "intent", *on(hub.data_dir, tmp_path / "work"), check=False)
    complaint(done, "Not a directory", str(tmp_path / "work"), "--work-dir")


def test_a_read_only_work_folder_is_named(hubtools: Command, hub: Hub, disk: Callable[[str], Path]) -> None:
    command = ("curate", "intent", *on(hub.data_dir, disk("ro")))
    complaint(hubtools(*command, check=False), "Read-only file system", str(disk("ro")), "--work-dir")
    disk("rw")
    hubtools(*command)


def test_a_full_disk_is_told_and_the_same_command_completes_with_room(
    hubtools: Command, hub: Hub, disk: Callable[[str], Path]
) -> None:
    command = ("curate", "intent", *on(hub.data_dir, disk("size=64k")))
    complaint(hubtools(*command, check=False), "disk is full", "free some space")
    disk("size=64m")
    hubtools(*command)


def test_a_full_hub_is_told_and_the_same_push_completes_with_room(
    hubtools: Command, disk: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = disk("size=64m")
    command = ("push-dataset", "intent", *on(folder / "hub", tmp_path / "work"))
    hubtools("curate", *command[1:])
    room = os.statvfs(folder)
    (folder / "filler").write_bytes(bytes(room.f_bavail * room.f_frsize - (32 << 10)))
    complaint(hubtools(*command, check=False), "507", "No space left", str(folder / "hub"))
    (folder / "filler").unlink()
    assert hubtools(*command).stdout.endswith("/datasets/local/router-intent\n")


# --- a Hub that fails


@pytest.fixture(scope="module")
def curated(hubtools: Command, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("curated")
    hubtools("curate", "intent", *on(hub.data_dir, work))
    return work


@pytest.fixture
def inject(faults: Path) -> Iterator[Callable[..., None]]:
    yield lambda *items: faults.write_text(json.dumps(items)) and None
    faults.unlink(missing_ok=True)


COMMIT = {"method": "POST", "path_regex": "/commit/main$"}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 409}, marks=EXHAUSTIVE),
        {"status": 412},
        pytest.param({"status": 429, "headers": {"Retry-After": "2"}}, marks=EXHAUSTIVE),
        pytest.param({"status": 500, "times": 2}, marks=EXHAUSTIVE),
        {"status": 503},
        pytest.param({"status": 0}, marks=EXHAUSTIVE),
        {"status": 0, "after": True},
    ],
    ids=["409", "412", "429", "500 twice", "503", "dropped", "answer lost"],
)
def test_a_commit_that_fails_is_made_again_and_only_once(
    hubtools: Command,
    hub: Hub,
    api: HfApi,
    curated: Path,
    inject: Callable[..., None],
    request: pytest.FixtureRequest,
    fault: dict[str, object],
) -> None:
    name = "fault-" + request.node.callspec.id.replace(" ", "-")
    inject(COMMIT | fault)
    began = time.monotonic()
    hubtools("push-dataset", "intent", "--dataset-name", name, *on(hub.data_dir, curated))
    assert fault["status"] != 429 or time.monotonic() - began > 2
    assert len(commits(api, f"local/{name}", "dataset")) == 2  # the Hub's own first one, and ours
    [tag] = api.list_repo_refs(f"local/{name}", repo_type="dataset").tags
    assert (tag.name, tag.target_commit) == ("v1", commits(api, f"local/{name}", "dataset")[0])


def test_a_push_survives_a_failure_of_each_of_its_calls(
    hubtools: Command, hub: Hub, api: HfApi, curated: Path, inject: Callable[..., None]
) -> None:
    calls = [
        "POST /repos/create$",
        "POST /preupload/",
        "POST /objects/batch$",
        "PUT /_lfs/",
        "GET /tree/",
        "GET /refs$",
    ]
    pairs = [call.split(" ") for call in [*calls, "POST /commit/", "POST /tag/"]]
    inject(*({"method": m, "path_regex": path, "status": 503 if i % 2 else 0} for i, (m, path) in enumerate(pairs)))
    hubtools("push-dataset", "intent", "--dataset-name", "fault-each", *on(hub.data_dir, curated))
    assert len(commits(api, "local/fault-each", "dataset")) == 2
    assert len(api.list_repo_refs("local/fault-each", repo_type="dataset").tags) == 1


@pytest.mark.parametrize("status", [0, pytest.param(503, marks=EXHAUSTIVE)])
def test_a_card_that_could_not_be_read_is_not_taken_for_no_card(
    hubtools: Command, hub: Hub, api: HfApi, curated: Path, inject: Callable[..., None], status: int
) -> None:
    name = f"fault-card-{status}"
    push = ("push-dataset", "intent", "--dataset-name", name, *on(hub.data_dir, curated))
    hubtools(*push)
    card = Path(api.hf_hub_download(f"local/{name}", "README.md", repo_type="dataset")).read_text()
    note = CommitOperationAdd("README.md", (card + "\nA note by a person.\n").encode())
    api.create_commit(f"local/{name}", [note], repo_type="dataset", commit_message="a note")
    inject({"path_regex": "/resolve/.*README", "status": status, "times": 2})
    hubtools(*push)
    card = Path(api.hf_hub_download(f"local/{name}", "README.md", repo_type="dataset")).read_text()
    assert "A note by a person." in card


def test_a_training_whose_hub_does_not_answer_says_so(hubtools: Command, curated: Path, tmp_path: Path) -> None:
    """finetune.py by itself, as accelerate launches it: no command of hubtools stands around it."""
    done = hubtools.run(
        sys.executable, REPOSITORY / "hubtools" / "finetune.py", "--task", "intent", "--base", "somebody/encoder",
        "--dataset", curated / "intent" / "dataset", "--work_dir", tmp_path / "work", check=False,
        env={"HF_ENDPOINT": "http://127.0.0.1:9"},  # nobody listens on the port of discarded data
    )  # fmt: skip
    complaint(done, "The Hub at http://127.0.0.1:9 does not answer", "run the same command again")


def test_a_hub_that_stopped_is_started_again_and_the_work_goes_on(
    hubtools: Command, own_hub: Path, tmp_path: Path
) -> None:
    flags = on(own_hub, tmp_path / "work")
    hubtools("curate", "intent", *flags)
    hub = find(own_hub)
    assert hub
    os.kill(hub.pid, signal.SIGKILL)
    away = hubtools("push-dataset", "intent", "--work-dir", tmp_path / "work", env=hub.environ, check=False)
    complaint(away, f"The Hub at {hub.url} does not answer", "run the same command again")
    assert hubtools("push-dataset", "intent", *flags).stdout == f"{hub.url}/datasets/local/router-intent\n"
    again = find(own_hub)
    assert again
    assert again.pid != hub.pid


# --- ends that nobody planned


EVERY_FEW_STEPS = ("--eval_strategy", "steps", "--eval_steps", 4, "--save_strategy", "steps", "--save_steps", 4)
LONG = ("--max_steps", 16, "--per_device_train_batch_size", 4, *EVERY_FEW_STEPS)


@pytest.fixture
def trainings(tmp_path: Path) -> Iterator[Callable[[], list[int]]]:
    """Process ids of the trainings in this test's work folder, without accelerate's launcher; none outlives it."""

    def found() -> list[int]:
        ids = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                parts = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if str(tmp_path / "work") in parts and any(part.endswith("finetune.py") for part in parts[:3]):
                ids.append(int(process.name))
        return ids

    yield found
    for process in found():
        os.kill(process, signal.SIGKILL)


def wait_for(what: Callable[[], object], process: subprocess.Popen[str], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@pytest.mark.exhaustive
def test_a_training_that_was_killed_goes_on_from_its_last_checkpoint(
    hubtools: Command, flags: tuple[object, ...], trainings: Callable[[], list[int]], tmp_path: Path
) -> None:
    work = tmp_path / "work"
    hubtools("curate", "intent", *flags)
    command = ("finetune", "intent", *flags, *LONG)
    with hubtools.begin(*command) as process:
        wait_for(lambda: [*(work / "intent" / "runs").glob("checkpoint-*/trainer_state.json")], process)
        [training] = trainings()
        os.kill(training, signal.SIGKILL)
        said = process.communicate()[0]
    done = subprocess.CompletedProcess(command, process.returncode, "", said)
    complaint(done, "Training 'intent' ended without a model", "checkpoint", "hubtools finetune", notes=r"(?s).*")
    assert not (work / "intent" / "model").exists()
    again = hubtools(*command)
    assert re.search(r"^\[intent\] going on from checkpoint-\d+$", again.stderr, re.MULTILINE)
    training_json = json.loads((work / "intent" / "training.json").read_text())
    assert (training_json["resumed"], training_json["steps"]) == (True, 16)
    assert not (work / "intent" / "runs").exists()


@pytest.mark.parametrize(
    ("number", "tasks", "jobs"),
    [(signal.SIGINT, "intent", 1), pytest.param(signal.SIGTERM, "all", 2, marks=EXHAUSTIVE)],
)
def test_interrupted_trainings_end_with_a_sentence_and_leave_no_process(
    hubtools: Command, flags: tuple[object, ...], trainings: Callable[[], list[int]],
    number: signal.Signals, tasks: str, jobs: int,
) -> None:  # fmt: skip
    hubtools("curate", tasks, *flags)
    with hubtools.begin("finetune", tasks, *flags, "--jobs", jobs, "--max_steps", 1000) as process:
        wait_for(lambda: len(trainings()) == jobs, process)
        process.send_signal(number)
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert said.endswith("\nInterrupted. Run the same command again: it goes on where it stopped.\n")
    assert "Traceback" not in said
    assert not trainings()


def test_a_second_command_waits_for_the_first_in_the_same_folder(
    hubtools: Command, flags: tuple[object, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "work" / "intent"
    folder.mkdir(parents=True)
    with open(folder / ".lock", "a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(str(os.getpid()))
        held.flush()
        with hubtools.begin("curate", "intent", *flags) as process:
            assert process.stdout
            assert f"waiting for it to end (kill {os.getpid()} stops it)" in process.stdout.readline()
            assert not (folder / "facts.json").exists()
            fcntl.flock(held, fcntl.LOCK_UN)
            process.communicate()
    assert process.returncode == 0
    assert (folder / "facts.json").exists()


def test_a_variable_that_a_library_cannot_read_is_named(hubtools: Command, flags: tuple[object, ...]) -> None:
    done = hubtools("curate", "intent", *flags, env={"HF_HUB_DOWNLOAD_TIMEOUT": "soon"}, check=False)
    assert done.returncode == 2  # the library prints a line of its own before ours
    assert "Error: The environment variable HF_HUB_DOWNLOAD_TIMEOUT cannot be read." in done.stderr
    assert "mend or unset it" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
