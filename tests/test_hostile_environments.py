"""What a shell, a container or a scheduler leaves behind changes no result: the same answer, or one clear message."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from as_user import Command
from scripts_of_the_world import make_labelled_rows

from hubtools.localhub import Hub
from hubtools.training.flags import parse_training_flags

SETTINGS: dict[str, dict[str, str]] = {
    "a launcher's rank": {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "3", "MASTER_ADDR": "10.9.9.9"},
    "torchrun": {"TORCHELASTIC_RUN_ID": "x", "TORCHELASTIC_RESTART_COUNT": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"},
    "mpi": {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4", "PMI_RANK": "1", "PMI_SIZE": "4"},
    "accelerate": {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_MIXED_PRECISION": "bf16"},
    "a proxy that is gone": {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"},
    "a proxy in lower case": {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "no_proxy": "x"},
    "a socks proxy": {"ALL_PROXY": "socks5://127.0.0.1:9"},
    "a proxy that is none": {"HTTP_PROXY": "not a proxy"},
    "latin-1": {"LC_ALL": "de_DE.ISO-8859-1", "PYTHONUTF8": "0"},
    "no locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ascii output": {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"},
    "offline": {"HF_HUB_OFFLINE": "1"},
    "offline datasets": {"HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"},
    "another endpoint": {"HF_ENDPOINT": "http://127.0.0.1:9/"},
    "another token": {"HF_TOKEN": "hf_of_somebody_else"},
    "a home of the hub elsewhere": {"HF_HOME": "/proc/nowhere"},
    "a cache of datasets elsewhere": {"HF_DATASETS_CACHE": "/proc/nowhere", "HF_HUB_CACHE": "/proc/nowhere"},
    "hf transfer": {"HF_HUB_ENABLE_HF_TRANSFER": "1"},
    "a home that is not there": {"HOME": "/proc/nowhere", "XDG_CACHE_HOME": "/proc/nowhere"},
    "no home": {"HOME": "", "XDG_DATA_HOME": ""},
    "no terminal": {"TERM": "dumb", "COLUMNS": "1", "NO_COLOR": "1"},
    "optimised python": {"PYTHONOPTIMIZE": "2"},
    "warnings as errors": {"PYTHONWARNINGS": "error::UserWarning:hubtools"},
    "one thread": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "0", "TOKENIZERS_PARALLELISM": "true"},
    "no gpu": {"CUDA_VISIBLE_DEVICES": ""},
}  # fmt: skip
QUICK = ("a launcher's rank", "ascii output")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "ü 中.jsonl"
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in make_labelled_rows("zh", 40))
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "setting", [*QUICK, *(pytest.param(s, marks=pytest.mark.exhaustive) for s in SETTINGS if s not in QUICK)]
)
def test_a_curation_is_the_same_or_one_message_in_every_environment(
    setting: str, hubtools: Command, hub: Hub, rows: Path, tmp_path: Path
) -> None:
    flags = ("--hub", "local", "--hub-dir", hub.data_dir)
    hubtools("curate", "jailbreak", "--source", rows, *flags, "--work-dir", tmp_path / "usual")
    done = hubtools(
        "curate", "jailbreak", "--source", rows, *flags, "--work-dir", tmp_path / "here", env=SETTINGS[setting],
        check=False, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "Unexpected" not in done.stderr
    if done.returncode:
        assert done.stderr.count("Error: ") == 1
        return
    usual, here = ((tmp_path / name / "jailbreak" / "facts.json").read_bytes() for name in ("usual", "here"))
    assert usual == here


@pytest.mark.parametrize("flag", [("--push_to_hub", "True"), ("--hub_model_id", "me/x"), ("--hub_strategy", "end")])
def test_flags_that_publish_past_the_licences_are_refused(flag: tuple[str, str]) -> None:
    from hubtools.errors import UsageError

    with pytest.raises(UsageError, match="hubtools push-model"):
        parse_training_flags(flag)
    assert parse_training_flags(("--push_to_hub", "False")).trainer == {"push_to_hub": False}


def test_a_copied_hub_folder_has_no_server_until_one_is_started(tmp_path: Path) -> None:
    import shutil

    from hubtools.localhub.service import find, start, stop

    first = start(tmp_path / "A")
    try:
        shutil.copytree(tmp_path / "A", tmp_path / "B")
        assert find(tmp_path / "B") is None
        assert stop(tmp_path / "B") is False
        second = start(tmp_path / "B")
        assert (second.url, second.pid) != (first.url, first.pid)
        assert second.data_dir == tmp_path / "B"
    finally:
        stop(tmp_path / "B")
        stop(tmp_path / "A")


@pytest.mark.parametrize("name", ["exp[1]", "a*b", "what?", "h#1", "sp ace", "Übung 中"])
def test_a_folder_is_read_by_its_name_whatever_signs_of_patterns_it_has(name: str, tmp_path: Path) -> None:
    from datasets import Dataset

    from hubtools.workdir import load_folder

    for folder in (name, "exp1", "axb", "whata"):  # what a pattern would find
        (tmp_path / folder / "data").mkdir(parents=True)
        Dataset.from_dict({"text": [folder]}).to_parquet(tmp_path / folder / "data" / "train-00000-of-00001.parquet")
    assert load_folder(tmp_path / name)["train"]["text"][:] == [name]


def test_a_folder_is_replaced_through_a_link_and_stays_where_its_replacement_fails(tmp_path: Path) -> None:
    from hubtools.workdir import replace_folder

    elsewhere, link, fresh = tmp_path / "disk" / "model", tmp_path / "work" / "model", tmp_path / "work" / "model.new"
    for folder in (elsewhere, fresh):
        folder.mkdir(parents=True)
        (folder / "name").write_text(folder.name)
    link.symlink_to(elsewhere)
    with pytest.raises(OSError, match="full"), replace_folder(fresh, link):
        raise OSError("full")
    assert (link / "name").read_text() == "model"
    if not fresh.exists():  # it was moved to the other disk
        (fresh).mkdir()
        (fresh / "name").write_text("model.new")
    with replace_folder(fresh, link):
        assert not os.path.exists(link)
    assert (elsewhere / "name").read_text() == "model.new"
    assert link.is_symlink()
