"""One body, four heads: trained together, released as four classifiers and as one repo that answers all four."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from as_user import Command
from datasets import Dataset
from huggingface_hub import HfApi
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from test_training import one_thread, tiny_config, tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    BertModel,
    ModernBertForMaskedLM,
    ModernBertForSequenceClassification,
    TrainingArguments,
)
from transformers.utils import logging

from hubtools import finetune
from hubtools.curation.build import CurationInputs, curate
from hubtools.curation.split import SPLITS
from hubtools.curation.user_data import choose_sources
from hubtools.errors import CardRejected, MissingStage
from hubtools.heads import Classification
from hubtools.heads.values import IGNORED
from hubtools.localhub import Hub, start, stop
from hubtools.packing.encoder import pack
from hubtools.publishing.curves import EVENTS
from hubtools.publishing.multitask import check_multitask_card, render_multitask_card, write_multitask_card
from hubtools.rows import Columns
from hubtools.task import TaskSpec
from hubtools.tasks import MULTI, TASKS
from hubtools.training.batching import MixedBatches
from hubtools.training.multitask_model import MultitaskClassifier, MultitaskCollator, MultitaskTrainer, Part, interleave
from hubtools.training.multitask_release import export
from hubtools.training.selection import make_selection_metrics
from hubtools.workdir import TaskFolder, task_folder

__all__ = ["one_thread", "tokenizer"]  # fixtures
REPO = "local/router_classifiers_{}_multi_model"


# --- the user's commands --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    """A random encoder of two layers with the nano model's tokenizer."""
    folder = tmp_path_factory.mktemp("bases") / "tiny"
    torch.manual_seed(3)
    config = tiny_config(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    ModernBertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def rows_of(task: TaskSpec, rng: random.Random) -> Iterator[dict[str, Any]]:
    """Rows that differ in their words and numbers: four of each label in training, two in the other splits."""
    words = ["soup", "tents", "rivers", "poems", "taxes", "bikes", "lamps", "trains", "bread", "stars"]
    for split, count in zip(SPLITS, (4, 2, 2), strict=True):
        for label in task.label_set().labels:
            for _ in range(count):
                said = " ".join(f"{rng.choice(words)} {rng.randrange(10**6)}" for _ in range(rng.randint(2, 8)))
                if not task.head.per_token:
                    yield {"text": f"{label}: {said}", "label": label, "split": split}
                else:
                    value = f"{label.lower()} {rng.randrange(10**6)}"
                    span = {"start": len(said) + 1, "end": len(said) + 1 + len(value), "label": label}
                    yield {"text": f"{said} {value}", "spans": [span], "split": split}


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with a small dataset of each task."""
    work = tmp_path_factory.mktemp("curated")
    for task in TASKS.values():
        file = work / f"{task.name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows_of(task, random.Random(task.name))))
        sources, label_set = choose_sources(task, str(file), Columns(), task.label_set(), "mit")
        curate(task, TaskFolder(work / task.name), CurationInputs(sources, label_set))
    return work


@pytest.fixture(scope="module")
def hub_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    yield start(folder)
    stop(folder)


@pytest.fixture(scope="module")
def said() -> list[str]:
    """Lines that the commands of ``joint`` said."""
    return []


@pytest.fixture(scope="module")
def flags(hub_of_its_own: Hub, curated: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    work = tmp_path_factory.mktemp("joint") / "work"
    shutil.copytree(curated, work)
    return ("--hub", "local", "--hub-dir", hub_of_its_own.data_dir, "--work-dir", work)


@pytest.fixture(scope="module")
def train(base: Path) -> tuple[object, ...]:
    return ("--base", base, "--use_cpu", "--num_train_epochs", 2, "--per_device_train_batch_size", 16,
            "--learning_rate", 1e-2)  # fmt: skip


@pytest.fixture(scope="module")
def joint(
    hubtools: Command, flags: tuple[object, ...], train: tuple[object, ...], said: list[str], hub_of_its_own: Hub
) -> Path:
    """A work folder in which a joint training has gone all the way, and its last two commands were given again.

    All in one process, which loads torch once; the Hub is the one that its environment names.
    """
    work = flags[-2:]
    commands = [
        ("push-dataset", "all", *work), ("finetune", MULTI, *work, *train), ("evaluate", MULTI, *work),
        # After so few steps the detector of personal data may find nothing, which the router does not take.
        ("push-model", "all", *work, "--skip-router-check"), ("push-model", MULTI, *work),
        ("finetune", MULTI, *work, *train),
        ("push-model", MULTI, *work), ("model-card", MULTI, "--check", *work),
    ]  # fmt: skip
    done = hubtools.in_turn(*commands, env=hub_of_its_own.environ)
    said.extend(done.stderr.splitlines())
    return Path(str(flags[-1]))


BOTH_WAYS = """
import sys
from transformers import pipeline

names, texts = json.loads(sys.argv[1]), json.loads(sys.argv[2])
kinds = {"pii": {"ignore_labels": []}}
pipelines = {task: pipeline(model=name, **kinds.get(task, {})) for task, name in names.items()}
of_pipelines = [{task: [dict(found, score=float(found["score"])) for found in ask(text)]
                 for task, ask in pipelines.items()} for text in texts]
print(json.dumps([[answer(text) for text in texts], of_pipelines], default=float))
"""


@pytest.mark.exhaustive
def test_the_snippet_on_the_card_answers_in_one_pass_what_the_four_pipelines_answer(
    hubtools: Command, joint: Path, hub_of_its_own: Hub
) -> None:
    repo = REPO.format("tiny")
    api = HfApi(endpoint=hub_of_its_own.url, token=hub_of_its_own.token)
    card = Path(api.hf_hub_download(repo, "README.md", local_dir=joint / "read")).read_text()
    [snippet] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len([line for line in snippet.splitlines() if line.strip()]) <= 25
    published = {n: json.loads((joint / n / "published.json").read_text())["model"]["repo"] for n in TASKS}
    texts = ["Call Maria at (212) 555-0187 about the soup!", "pii: poems 83 person 512", "x", "word " * 700]
    done = hubtools.run(
        sys.executable, "-W", "error", "-c", snippet + BOTH_WAYS, json.dumps(published), json.dumps(texts[:3]),
        env=hub_of_its_own.environ,
    )  # fmt: skip
    one_pass, four = json.loads(done.stdout.splitlines()[-1])
    for answer, pipelines in zip(one_pass, four, strict=True):
        assert answer.keys() == pipelines.keys() == TASKS.keys()
        for task in ("category", "jailbreak", "intent"):
            [[label, p]], [expected] = answer[task], pipelines[task]
            assert (label, p) == (expected["label"], pytest.approx(expected["score"], abs=1e-5))
        tokens = answer["pii"][1:-1]
        assert [label for label, _ in tokens] == [found["entity"] for found in pipelines["pii"]]
        assert [p for _, p in tokens] == pytest.approx([found["score"] for found in pipelines["pii"]], abs=1e-5)


@pytest.mark.exhaustive
def test_the_one_repo_holds_the_body_once_four_heads_and_no_code(joint: Path, hub_of_its_own: Hub) -> None:
    api = HfApi(endpoint=hub_of_its_own.url, token=hub_of_its_own.token)
    repo = REPO.format("tiny")
    files = set(api.list_repo_files(repo)) - {".gitattributes"}
    assert files == {
        "CHANGELOG.md", "README.md", "config.json", "heads.json", "heads.safetensors", "model.safetensors",
        "manifest.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "training.json",
        EVENTS,
        *(f"{name}/{file}" for name in TASKS for file in ("metrics.json", "predictions.parquet")),
    }  # fmt: skip
    assert [tag.name for tag in api.list_repo_refs(repo).tags] == ["v1"]
    body, heads = (load_file(joint / MULTI / "model" / f"{name}.safetensors") for name in ("model", "heads"))
    about = json.loads(Path(api.hf_hub_download(repo, "heads.json", local_dir=joint / "read")).read_text())
    for name, task in TASKS.items():
        theirs = load_file(joint / name / "model" / "model.safetensors")
        ours = {f"model.{key}": value for key, value in body.items()}
        ours |= {key.removeprefix(f"{name}."): value for key, value in heads.items() if key.startswith(f"{name}.")}
        assert theirs.keys() == ours.keys()
        assert all(torch.equal(theirs[key], ours[key]) for key in ours)
        thresholds = joint / name / "model" / "thresholds.json"
        shipped = json.loads(thresholds.read_text())["weights"]["model.safetensors"] if thresholds.exists() else None
        assert about[name] == {
            "kind": "token" if task.head.per_token else "sequence", "labels": list(task.model_labels(task.label_set())),
            "temperature": json.loads((joint / name / "model" / "calibration.json").read_text())["temperature"],
            **({"threshold": shipped["threshold"]} if shipped else {}),
        }  # fmt: skip
    assert "threshold" in about["jailbreak"]
    notes = Path(api.hf_hub_download(repo, "CHANGELOG.md", local_dir=joint / "read")).read_text()
    parts = [line.removeprefix("### ") for line in notes.splitlines() if line.startswith("### ")]
    assert parts[:3] == ["Domain: scores", "Domain: data", "Domain: threshold"]
    assert {part.split(": ")[0] for part in parts[:-1]} == {task.title for task in TASKS.values()}
    assert parts[-1] == "Settings"


@pytest.mark.exhaustive
def test_a_joint_training_says_how_each_task_does_and_picks_the_best_mean(joint: Path, said: list[str]) -> None:
    lines = [line for line in said if "validation mean of the four" in line]
    assert len(lines) == 2
    number = r"(\d\.\d{4})"
    for line in lines:
        shown = re.search(", ".join(["four " + number, *(f"{name} {number}" for name in TASKS)]), line)
        assert shown, line
        mean, *each = map(float, shown.groups())
        assert mean == pytest.approx(sum(each) / 4, abs=1e-4)
    history = [e for e in json.loads((joint / MULTI / "training.json").read_text())["history"] if "eval_mean" in e]
    best = max(history, key=lambda entry: entry["eval_mean"])
    for name, task in TASKS.items():
        training = json.loads((joint / name / "training.json").read_text())
        assert training["method"] == "multi"
        assert training["best_validation"] == {task.primary.key: best[f"eval_{name}_{task.primary.key}"]}
        assert [e[f"eval_{task.primary.key}"] for e in training["history"] if "eval_loss" in e] == [
            entry[f"eval_{name}_{task.primary.key}"] for entry in history
        ]


@pytest.mark.exhaustive
def test_the_same_joint_training_is_done_once_and_another_of_one_task_undoes_it(
    hubtools: Command, said: list[str], flags: tuple[object, ...], train: tuple[object, ...], copy: Path
) -> None:
    assert said.count("multi: models are up to date") == 1
    changed(copy / "intent")
    assert "would run: " in hubtools("finetune", MULTI, *train, *flags[:-1], copy, "--dry-run").stderr
    with pytest.raises(MissingStage, match=r"(?s)The intent model is not the one.*of another training.*finetune multi"):
        render_multitask_card(copy, "local/one")


def changed(folder: Path) -> None:
    """Other weights, as another training would leave them."""
    file = folder / "model" / "model.safetensors"
    save_file({name: tensor + 1e-3 for name, tensor in load_file(file).items()}, file, {"format": "pt"})


@pytest.mark.exhaustive
def test_pushing_twice_makes_one_release_and_the_card_says_what_the_files_say(joint: Path, said: list[str]) -> None:
    assert sum("all four in one pass" in line for line in said) == 1
    assert [line for line in said if line.startswith("multi: model local/")] == [
        f"multi: model {REPO.format('tiny')} {state} v1" for state in ("pushed as", "unchanged at")
    ]
    card = (joint / MULTI / "model" / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["pipeline_tag"] == "feature-extraction"  # what pipeline() makes of it, and no classifier at random
    for name, task in TASKS.items():
        metrics = json.loads((joint / name / "metrics.json").read_text())["primary"]
        score = f"**{metrics['value']:.3f} [{metrics['low']:.3f}, {metrics['high']:.3f}]**"
        published = json.loads((joint / name / "published.json").read_text())["model"]
        [line] = [line for line in card.splitlines() if line.startswith(f"| {name} | {task.question}")]
        assert score in line
        assert f"(/{published['repo']}) v1" in line
    assert "What sharing a body costs is not known here" in card
    single = (joint / "pii" / "model" / "README.md").read_text()
    assert "The classifiers of all tasks trained together, on one body that they share." in single


@pytest.fixture
def copy(joint: Path, tmp_path: Path) -> Path:
    work = tmp_path / "work"
    shutil.copytree(joint, work)
    return work


@pytest.mark.exhaustive
def test_the_card_tells_what_sharing_costs_where_each_task_was_trained_alone_before(copy: Path) -> None:
    file = copy / "pii" / "metrics.json"
    metrics = json.loads(file.read_text())
    scores = {key: metrics["scores"][key] for key in ("entity_precision", "entity_recall", "overlap_f1", "macro_f1")}
    scores |= {"covered": None, "false_alarms": None, "entity_f1": {"value": 0.8125, "low": 0.8, "high": 0.82}}
    for method, shown in (("", True), (MULTI, False)):
        metrics["previous"] = {
            "repo": "local/before", "tag": "v1", "revision": "0" * 40, "method": method, "why_not": "",
            "title": "entity F1", "value": 0.8125,
        }  # fmt: skip
        metrics["baselines"]["previous version (v1)"] = {"about": "the version published before", **scores}
        file.write_text(json.dumps(metrics))
        card = render_multitask_card(copy, "local/one")
        assert ("| trained alone |" in card) is shown
        assert ("0.812" in card) is shown


@pytest.mark.exhaustive
def test_what_is_not_there_or_not_of_the_same_training_is_refused(copy: Path) -> None:
    write_multitask_card(copy, "local/one")
    check_multitask_card(copy, "local/one")
    with pytest.raises(CardRejected, match=r"The multi card is not what its files say"):
        check_multitask_card(copy, "local/another")
    published = copy / "category" / "published.json"
    known = json.loads(published.read_text())
    published.write_text(json.dumps(known | {"model": known["model"] | {"weights_sha256": "0" * 64}}))
    with pytest.raises(MissingStage, match=r"(?s)The category model on the Hub is of another.*push-model category"):
        render_multitask_card(copy, "local/one")
    published.write_text(json.dumps({"dataset": known["dataset"]}))
    with pytest.raises(MissingStage, match=r"(?s)The category model is not pushed.*push-model category"):
        render_multitask_card(copy, "local/one")
    (copy / "jailbreak" / "metrics.json").unlink()
    with pytest.raises(MissingStage, match=r"(?s)metrics.json of 'jailbreak'.*hubtools evaluate jailbreak"):
        render_multitask_card(copy, "local/one")
    shutil.rmtree(copy / MULTI)
    with pytest.raises(MissingStage, match=r"(?s)training.json of 'multi'.*hubtools finetune multi"):
        render_multitask_card(copy, "local/one")


# --- finetune.py itself ---------------------------------------------------------------------------------------------


@pytest.fixture
def run_joint(
    base: Path, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Path]]:
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def run(name: str, *flags: str) -> Path:
        work = tmp_path / name
        if not work.exists():
            shutil.copytree(curated, work)
        finetune.main([
            "--task", MULTI, "--work_dir", str(work), "--base", str(base), "--use_cpu", "--fingerprint", "mark",
            "--per_device_train_batch_size", "16", "--num_train_epochs", "1", "--learning_rate", "1e-2", *flags,
        ])  # fmt: skip
        return work

    verbosity = logging.get_verbosity()
    yield run
    logging.set_verbosity(verbosity)  # finetune.py silences transformers for its whole process


def test_killed_between_two_of_the_four_releases_the_next_run_completes_them_alike(
    run_joint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hubtools.training import release

    whole = run_joint("whole")
    left: list[str] = []

    def killed(fresh: Any, folder: Any, task: TaskSpec, *rest: Any) -> None:
        if left:
            raise KeyboardInterrupt
        left.append(task.name)
        release_model(fresh, folder, task, *rest)

    release_model = release.release_model
    with monkeypatch.context() as patch:
        patch.setattr(release, "release_model", killed)
        with pytest.raises(KeyboardInterrupt):
            run_joint("cut")
    work = task_folder(run_joint("cut"), MULTI).root.parent
    assert left == ["category"]
    assert "going on from checkpoint-" in capsys.readouterr().out
    for name in TASKS:
        file = f"{name}/model/model.safetensors"
        assert (work / file).read_bytes() == (whole / file).read_bytes()
        assert not (work / name / "model.new").exists()
    for file in ("model.safetensors", "heads.safetensors", "heads.json", "config.json"):
        assert (work / MULTI / "model" / file).read_bytes() == (whole / MULTI / "model" / file).read_bytes()
    assert not (work / MULTI / "runs").exists()


def refused(capsys: pytest.CaptureFixture[str], run: Callable[[], object]) -> str:
    with pytest.raises(SystemExit) as end:
        run()
    assert end.value.code
    return capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--dataset local/router-pii", "--label_set seed10", "--lora_rank 4", "--balance 0.5"])
def test_a_flag_that_a_joint_training_has_no_use_for_is_refused(
    flag: str, run_joint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, lambda: run_joint("one", *flag.split()))
    assert re.match(rf"Error: A joint training .*\.\n  expected: .*\n  found: +{flag}\n  next: ", said)


def test_a_base_that_is_no_modernbert_is_refused(
    run_joint: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path, tokenizer: Any
) -> None:
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=16)  # fmt: skip
    BertModel(config).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    said = refused(capsys, lambda: run_joint("bert-work", "--base", str(tmp_path / "bert")))
    assert re.search(r"Error: .*bert cannot carry four heads\.\n  expected: a ModernBERT\n  found: +bert\n", said)


@pytest.mark.exhaustive
def test_two_processes_train_as_one_does(
    run_joint: Callable[..., Path], base: Path, curated: Path, tmp_path: Path, hubtools: Command
) -> None:
    """The same rows a step, and each task's loss divided by what both processes hold of it."""
    flags = ("--max_steps", "3", "--logging_steps", "1", "--eval_strategy", "steps", "--save_strategy", "steps",
             "--eval_steps", "3", "--save_steps", "3")  # fmt: skip
    one, two = run_joint("one", *flags), tmp_path / "two"
    shutil.copytree(curated, two)
    done = subprocess.run(
        [
            sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2", "hubtools/finetune.py",
            "--task", MULTI, "--work_dir", str(two), "--base", str(base), "--use_cpu", "--fingerprint", "mark",
            "--per_device_train_batch_size", "8", "--learning_rate", "1e-2", *flags,
        ],
        cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=300, check=False,
        env=hubtools.environ | {"OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((work / MULTI / "training.json").read_text()) for work in (one, two))
    assert (first["processes"], second["processes"]) == (1, 2)
    losses = [[entry["loss"] for entry in training["history"] if "loss" in entry] for training in (first, second)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    body = [load_file(work / MULTI / "model" / "model.safetensors") for work in (one, two)]
    assert all(torch.allclose(tensor, body[1][name], atol=1e-4) for name, tensor in body[0].items())


# --- the model and its loss -----------------------------------------------------------------------------------------

LENGTHS = (3, 40, 17, 5, 33, 9)


def parts_of(rows: int = 6) -> list[Part]:
    """A part of each task, with random rows; of pii half of the tokens carry a label."""
    parts, first, rng = [], 0, random.Random(1)
    for number, task in enumerate(TASKS.values()):
        label_set = task.label_set()
        classes = len(task.model_labels(label_set))
        made = []
        for i in range(rows + number):
            n = LENGTHS[i % len(LENGTHS)]
            ids = [1, *(rng.randrange(3, 64) for _ in range(n - 2)), 2]
            tags = [rng.choice([IGNORED, rng.randrange(classes)]) for _ in ids[1:]] + [i % classes]
            made.append({"input_ids": ids, "labels": tags if task.head.per_token else i % classes, "length": n})
        data = Dataset.from_list(made)
        weights = [1.0 + c for c in range(classes)] if task.weighted_loss else None
        encoded = {"train": data, "validation": data}
        parts.append(Part(task, label_set, first, encoded, weights, 3.0 if task.head.per_token else 1.0))
        first += classes
    return parts


def joint_model(parts: list[Part]) -> MultitaskClassifier:
    torch.manual_seed(0)
    kinds = ["full_attention", "sliding_attention", "full_attention"]
    config = tiny_config(num_hidden_layers=3, layer_types=kinds, local_attention=16, classifier_dropout=0.0)
    return MultitaskClassifier(config, {p.task.name: (p.task.head, len(p.labels)) for p in parts})


def classifiers(model: MultitaskClassifier, parts: list[Part], folder: Path) -> dict[str, Any]:
    """The ordinary classifier of each task, as it would be published."""
    made = {}
    for part in parts:
        (folder / part.task.name).mkdir(parents=True)
        export(model.state_dict(), model.config, part, folder / part.task.name)
        kind = AutoModelForTokenClassification if part.task.head.per_token else AutoModelForSequenceClassification
        made[part.task.name] = kind.from_pretrained(folder / part.task.name)
    return made


def batch_of(parts: list[Part]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of all tasks in a mixed order, and their batch."""
    rows = [{**row, "task": number} for number, part in enumerate(parts) for row in part.encoded["train"]]
    random.Random(2).shuffle(rows)
    return rows, MultitaskCollator(0, [part.first for part in parts])(rows)


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_each_of_the_four_classifiers_has_the_logits_of_the_joint_model(packed: bool, tmp_path: Path) -> None:
    parts = parts_of()
    model = joint_model(parts).eval()
    alone = classifiers(model, parts, tmp_path)
    rows, batch = batch_of(parts)
    labels = batch.pop("labels")
    if packed:
        pack(model)
    else:
        batch.pop("lengths")
    with torch.no_grad():
        logits = model(**batch).logits
        assert logits.shape[:2] == labels.shape == batch["input_ids"].shape
        for row, found in zip(rows, logits, strict=True):
            part = parts[row["task"]]
            [expected] = alone[part.task.name](torch.tensor([row["input_ids"]])).logits
            own, rest = found[: row["length"], : len(part.labels)], found[0, len(part.labels) :]
            assert torch.allclose(own if part.task.head.per_token else own[0], expected, atol=1e-5)
            assert (rest == float("-inf")).all()


def test_the_heads_begin_as_those_of_modernberts_own_classifiers() -> None:
    parts = parts_of()
    torch.manual_seed(0)
    ours = MultitaskClassifier(tiny_config(hidden_size=64), {"category": (Classification(), 4000)}).heads["category"]
    theirs = ModernBertForSequenceClassification(tiny_config(hidden_size=64, num_labels=4000))
    for name in ("head.dense.weight", "classifier.weight"):
        spread = [model.get_parameter(name).std().item() for model in (ours, theirs)]
        assert spread[0] == pytest.approx(spread[1], rel=0.05)
    assert not ours.classifier.bias.any()
    names = {name.removeprefix("heads.pii.") for name in joint_model(parts).state_dict() if "heads.pii." in name}
    assert names == {name for name in theirs.state_dict() if not name.startswith("model.")}


@pytest.mark.parametrize(
    "cut",
    [
        {},
        {"tokens_per_batch": 60},
        {"may_pack": False},
        {"gradient_accumulation_steps": 5},
        {"static": True, "tokens_per_batch": 60},
    ],
    ids=str,
)
def test_a_step_has_the_weighted_mean_of_the_gradients_that_each_task_has_alone(
    cut: dict[str, Any], tmp_path: Path
) -> None:
    """A step of gradient descent with rate 1 subtracts the gradient, however its 30 rows are cut."""
    parts = parts_of()
    model = joint_model(parts)
    expected: dict[str, torch.Tensor] = {}
    for part, alone in zip(parts, classifiers(model, parts, tmp_path / "alone").values(), strict=True):
        batch = MultitaskCollator(0, [0] * len(parts))([{**row, "task": 0} for row in part.encoded["train"]])
        logits, labels = alone(batch["input_ids"], batch["attention_mask"]).logits, batch["labels"]
        labels = labels if part.task.head.per_token else labels[:, 0]
        each = torch.nn.functional.cross_entropy(
            logits.flatten(0, -2), labels.flatten(), reduction="none",
            weight=torch.tensor(part.class_weights) if part.class_weights else None,
        )  # fmt: skip
        (each.sum() / labels.ne(IGNORED).sum() * part.weight / 6).backward()
        for name, parameter in alone.named_parameters():
            key = name if name.startswith("model.") else f"heads.{part.task.name}.{name}"
            expected[key] = expected.get(key, 0) + parameter.grad
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    rows = sum(len(part.encoded["train"]) for part in parts)
    batch_size = rows // cut.get("gradient_accumulation_steps", 1)
    ours = {name: value for name, value in cut.items() if name in ("tokens_per_batch", "may_pack", "static")}
    cut = {name: value for name, value in cut.items() if name not in ours}
    args = TrainingArguments(
        str(tmp_path), max_steps=1, max_grad_norm=0, report_to="none", use_cpu=True, save_strategy="no",
        disable_tqdm=True, dataloader_pin_memory=False, logging_strategy="no", optim="sgd", learning_rate=1.0,
        lr_scheduler_type="constant", weight_decay=0.0, per_device_train_batch_size=batch_size, **cut,
    )  # fmt: skip
    tokenizer = SimpleNamespace(pad_token_id=0, model_input_names=["input_ids"])
    MultitaskTrainer(parts, model=model, args=args, processing_class=tokenizer, **ours).train()
    moved = {name: before[name] - parameter.detach() for name, parameter in model.named_parameters()}
    assert moved.keys() == expected.keys()
    apart = torch.cat([(moved[name] - expected[name]).flatten() for name in moved]).norm()
    size = torch.cat([gradient.flatten() for gradient in expected.values()]).norm()
    assert size > 0.1
    assert apart < 1e-5 * size


def test_the_scores_of_a_joint_training_are_those_of_each_task_by_itself(tmp_path: Path) -> None:
    parts = parts_of(12)
    model = joint_model(parts).eval()
    args = TrainingArguments(str(tmp_path), report_to="none", use_cpu=True, per_device_eval_batch_size=7,
                             dataloader_pin_memory=False, disable_tqdm=True)  # fmt: skip
    tokenizer = SimpleNamespace(pad_token_id=0, model_input_names=["input_ids"])
    found = MultitaskTrainer(parts, model=model, args=args, processing_class=tokenizer).evaluate()
    primary = []
    for part, alone in zip(parts, classifiers(model, parts, tmp_path / "alone").values(), strict=True):
        rows = part.encoded["validation"]
        with torch.no_grad():
            logits = [alone(torch.tensor([ids])).logits[0].numpy() for ids in rows["input_ids"]]
        scores = make_selection_metrics(part.task, part.label_set)
        if part.task.head.per_token:
            longest, decide = max(rows["length"]), part.task.head.reduce_logits()
            assert decide
            decided = [
                decide(torch.tensor(one)[None], torch.tensor(row)[None])[0].numpy()
                for one, row in zip(logits, rows["labels"], strict=True)
            ]
            labels, chosen = (
                np.array([np.pad(row, (0, longest - len(row)), constant_values=IGNORED) for row in some])
                for some in (rows["labels"], decided)
            )
            expected = scores(SimpleNamespace(predictions=chosen, label_ids=labels))
        else:
            expected = scores(SimpleNamespace(predictions=np.array(logits), label_ids=np.array(rows["labels"])))
        for key, value in expected.items():
            assert found[f"eval_{part.task.name}_{key}"] == pytest.approx(value)
        primary.append(expected[part.task.primary.key])
    assert found["eval_mean"] == pytest.approx(sum(primary) / 4)


# --- steps ----------------------------------------------------------------------------------------------------------


def mixed(sizes: list[int], rows: int, parts: int = 1, epoch: int = 0) -> MixedBatches:
    return MixedBatches(sizes, rows=rows, lengths=[5] * sum(sizes), parts=parts, seed=0, epoch=lambda: epoch)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=4), st.integers(4, 40), st.integers(1, 4))
def test_every_step_holds_rows_of_all_datasets_in_one_proportion(sizes: list[int], rows: int, parts: int) -> None:
    if sum(sizes) < parts:
        return
    batches = [*mixed(sizes, rows, parts)]
    steps = [[*chain(*batches[i : i + parts])] for i in range(0, len(batches), parts)]
    assert sorted(row for step in steps for row in step) == list(range(sum(sizes)))
    begin = 0
    for size in sizes:
        held = [sum(begin <= row < begin + size for row in step) for step in steps]
        assert max(abs(count - size / len(steps)) for count in held) <= len(sizes) + 1
        begin += size
    assert [sorted(step) for step in steps] == [sorted(step) for step in mixed(sizes, rows)], "parts change no step"


def test_each_epoch_draws_other_steps_and_the_same_ones_again() -> None:
    assert [*mixed([30, 90], 8)] == [*mixed([30, 90], 8)]
    assert [*mixed([30, 90], 8)] != [*mixed([30, 90], 8, epoch=1)]


def test_rows_to_evaluate_stand_in_one_proportion_everywhere() -> None:
    order = interleave([30, 10])
    assert sorted(order) == list(range(40))
    assert all(sum(row >= 30 for row in order[i : i + 4]) == 1 for i in range(0, 40, 4))
