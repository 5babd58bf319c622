"""A release that the Semantic Router cannot read, or reads otherwise, is caught; one that it reads passes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_classifiers import WINDOW, make_tokenizer
from tiny_releases import TEXTS, change_json, change_weights, make_release
from transformers import AutoConfig, AutoTokenizer

from hubtools.reading import choose_windows, cut_windows
from hubtools.records import write_record
from hubtools.records.thresholds import Temperature
from hubtools.router_contract import Check, check_package, failures, table_of
from hubtools.router_contract.decoding import PredictedSpan, TokenAnswer, decode_spans
from hubtools.router_contract.forward import SecondForward
from hubtools.tasks import CATEGORY, INTENT, JAILBREAK, PII, TASKS
from hubtools.training.release import complete_config, complete_tokenizer
from hubtools.workdir import TaskFolder

HEADS = {"classification": CATEGORY, "detection": JAILBREAK, "spans": PII}
REPOS = HEADS | {"intent": INTENT}  # a repo a task
Plant = Callable[[Path], Any]


def labels_of(head: str) -> tuple[str, ...]:
    task = HEADS[head]
    return task.model_labels(task.label_set())


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A release of each head."""
    root = tmp_path_factory.mktemp("releases")
    return {head: make_release(root / head, task) for head, task in REPOS.items()}


@pytest.fixture
def release(releases: dict[str, Path], request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A head and a copy of its release, to change."""
    return request.param, Path(shutil.copytree(releases[request.param], tmp_path / "release"))


def checked(head: str, folder: Path) -> list[Check]:
    return check_package(folder, labels_of(head), TEXTS)


# --- what passes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
def test_a_release_of_each_head_passes_every_check(head: str, releases: dict[str, Path]) -> None:
    checks = checked(head, releases[head])
    assert [check.message for check in checks if not check.ok] == []
    names = ["files", "config", "mapping", "weights", "tokenizer", "answers"]
    assert [check.name for check in checks] == [*names, *["spans", "windows"] * (head == "spans"), "self-check"]
    [answers] = [check for check in checks if check.name == "answers"]
    tokens = sum(len(text.encode()) for text in TEXTS)
    assert answers.numbers["different"] == 0
    assert answers.numbers["largest_difference"] <= 1e-5
    assert answers.numbers["compared"] > (tokens if head == "spans" else len(TEXTS)), "and one long text"
    assert [row[1] for row in table_of(checks)] == ["passed"] * len(checks)


def test_a_release_is_written_for_transformers_4_and_5(releases: dict[str, Path]) -> None:
    folder = releases["spans"]
    content = {name: json.loads((folder / name).read_text()) for name in (CONFIG, TOKENIZER, TOKENIZER_CONFIG, SPECIAL)}
    assert content[SPECIAL] == {
        "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]",
    }  # fmt: skip
    known = {"clean_up_tokenization_spaces", "model_input_names", "model_max_length", "tokenizer_class"}
    assert set(content[TOKENIZER_CONFIG]) - known - content[SPECIAL].keys() <= {"truncation_side"}
    assert content[TOKENIZER_CONFIG]["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert (content[TOKENIZER]["truncation"], content[TOKENIZER]["padding"]) == (None, None)
    assert content[CONFIG]["norm_eps"] == content[CONFIG]["layer_norm_eps"] == 1e-5
    assert content[CONFIG]["architectures"] == ["ModernBertForTokenClassification"]


def test_completing_a_tokenizer_changes_no_id_and_nothing_the_second_time(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": ["[A]", "[B]"]})
    texts = [*TEXTS, "[A] and [B] are one token each"]
    before = tokenizer(texts, truncation=True, max_length=30)["input_ids"]
    tokenizer.save_pretrained(tmp_path)
    complete_tokenizer(tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(texts, truncation=True, max_length=30)["input_ids"] == before
    assert again.extra_special_tokens == ["[A]", "[B]"]
    assert again.model_max_length == WINDOW
    complete_tokenizer(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_legacy_keys_that_a_base_brought_along_say_what_is_computed(releases: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(releases["detection"], tmp_path / "release"))
    with_values(local_rope_theta=1.0, layer_norm_eps=1e-3)(folder)
    complete_config(folder / CONFIG)
    assert failures(checked("detection", folder), strict=True) == []


def test_texts_that_are_blank_or_longer_than_the_model_reads_are_not_compared(releases: dict[str, Path]) -> None:
    checks = check_package(releases["detection"], labels_of("detection"), ["", " \n", "long " * 500, "short"])
    assert failures(checks, strict=True) == []
    [answers] = [check for check in checks if check.name == "answers"]
    assert answers.numbers["compared"] == 2


def hub_cache(folder: Path) -> Path:
    """Lay the files of ``folder`` out as the Hub's client does: links from a snapshot to blobs."""
    repo = folder.parent / "models--owner--name"
    snapshot, blobs = repo / "snapshots" / ("0" * 40), repo / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in list(folder.iterdir()):
        path.rename(blobs / f"hash-of-{path.name}")
        (snapshot / path.name).symlink_to(blobs / f"hash-of-{path.name}")
    return snapshot


@pytest.mark.parametrize("release", ["detection"], indirect=True)
def test_a_snapshot_in_the_cache_of_the_hub_is_made_of_links_and_passes(release: tuple[str, Path]) -> None:
    head, folder = release
    assert failures(checked(head, hub_cache(folder)), strict=True) == []


# --- what is no error -----------------------------------------------------------------------------------------------


def config(change: Callable[[dict[str, Any]], Any]) -> Plant:
    return lambda folder: change_json(folder / "config.json", change)


def without(*keys: str) -> Plant:
    return config(lambda content: [content.pop(key) for key in keys])


def with_values(**values: Any) -> Plant:
    return config(lambda content: content.update(values))


def weights(change: Callable[[dict[str, Any]], Any]) -> Plant:
    return lambda folder: change_weights(folder, change)


def tokenizer(change: Callable[[dict[str, Any]], Any], file: str = "tokenizer.json") -> Plant:
    return lambda folder: change_json(folder / file, change)


def round_to_bf16(tensors: dict[str, Any]) -> None:
    import torch

    tensors.update({name: tensor.to(torch.bfloat16).float() for name, tensor in tensors.items()})


TRUNCATION = {"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0}
HARMLESS: dict[str, tuple[Plant, tuple[str, ...]]] = {
    "bf16 turned to float32": (weights(round_to_bf16), ()),
    "no label2id": (without("label2id"), ()),
    "no layer_types": (without("layer_types"), ()),
    "no ids of pad, cls and sep": (
        without("pad_token_id", "cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id"), ("pad_token_id",),
    ),
    "no legacy rope": (without("global_rope_theta", "local_rope_theta"), ("global_rope_theta", "local_rope_theta")),
    "no nested rope": (without("rope_parameters"), ("full_attention", "sliding_attention")),
    "no layer_norm_eps": (without("layer_norm_eps"), ("layer_norm_eps",)),
    "no global_attn_every_n_layers": (without("global_attn_every_n_layers"), ("global_attn_every_n_layers",)),
    "stored truncation": (tokenizer(lambda content: content.update(truncation=TRUNCATION)), ("truncation",)),
    "keys of transformers 5": (
        tokenizer(lambda content: content.update(backend="tokenizers"), "tokenizer_config.json"), ("backend",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
@pytest.mark.parametrize("release", ["spans"], indirect=True)
def test_what_the_router_reads_all_the_same_is_a_warning_at_most(name: str, release: tuple[str, Path]) -> None:
    head, folder = release
    plant, warned = HARMLESS[name]
    plant(folder)
    checks = checked(head, folder)
    assert [check.message for check in failures(checks)] == []
    warnings = failures(checks, strict=True)
    assert len(warnings) == len(warned)
    assert all(word in check.message for word, check in zip(warned, warnings, strict=True))
    assert {check.name for check in checks} >= {"answers", "self-check"}


# --- what must be caught --------------------------------------------------------------------------------------------


def move_names(content: dict[str, Any]) -> None:
    content["id2label"] |= {"0": content["id2label"]["1"], "1": content["id2label"]["0"]}


def leave_a_gap(content: dict[str, Any]) -> None:
    labels = len(content["id2label"])
    content["id2label"][str(labels)] = content["id2label"].pop("1")


def name_by_number(content: dict[str, Any]) -> None:
    content["id2label"] = {key: f"LABEL_{key}" for key in content["id2label"]}


def take_prefixes(content: dict[str, Any]) -> None:
    content["id2label"] = {key: label.replace("B-", "").replace("I-", "") for key, label in content["id2label"].items()}


def set_theta(content: dict[str, Any]) -> None:
    content["rope_parameters"]["sliding_attention"]["rope_theta"] = 160_000.0


def reverse_mapping(folder: Path) -> None:
    [path] = folder.glob("*_mapping.json")

    def turn(content: dict[str, dict[str, Any]]) -> None:
        there, back = content
        names = list(content[there])[::-1]
        content[there] = {name: i for i, name in enumerate(names)}
        content[back] = {str(i): name for i, name in enumerate(names)}

    change_json(path, turn)


def count_mapping_from_one(folder: Path) -> None:
    [path] = folder.glob("*_mapping.json")
    change_json(path, lambda content: content.update(
        {there: {name: i + 1 for name, i in numbers.items()} for there, numbers in list(content.items())[:1]}
    ))  # fmt: skip


def link_weights(folder: Path) -> None:
    moved = folder.parent / "elsewhere.safetensors"
    (folder / "model.safetensors").rename(moved)
    (folder / "model.safetensors").symlink_to(moved)


def shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text('{"metadata": {}, "weight_map": {}}')


def cut_off(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])


def add_tensor(tensors: dict[str, Any]) -> None:
    tensors["classifier.scale"] = tensors["classifier.bias"].clone()


def rename_all(tensors: dict[str, Any]) -> None:
    for name in [name for name in tensors if name.startswith("model.")]:
        tensors[name.replace("model.", "encoder.", 1)] = tensors.pop(name)


def shorten(tensors: dict[str, Any]) -> None:
    for kind in ("weight", "bias"):
        tensors[f"classifier.{kind}"] = tensors[f"classifier.{kind}"][:-1].clone()


def halve(tensors: dict[str, Any]) -> None:
    tensors.update({name: tensor.half() for name, tensor in tensors.items()})


def silence(tensors: dict[str, Any]) -> None:
    tensors["classifier.bias"][0] = 1e4


def make_infinite(tensors: dict[str, Any]) -> None:
    tensors["classifier.bias"][0] = float("nan")


def add_token(content: dict[str, Any]) -> None:
    [last, *_] = sorted(content["added_tokens"], key=lambda token: -token["id"])
    content["added_tokens"].append(last | {"id": 261, "content": "[NEW]", "special": False})


def rename_file(old: str, new: str) -> Plant:
    return lambda folder: (folder / old).rename(folder / new)


def delete(name: str) -> Plant:
    return lambda folder: (folder / name).unlink()


def write(name: str, content: str = "{}") -> Plant:
    return lambda folder: (folder / name).write_text(content)


CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
TOKENIZER_CONFIG, SPECIAL = "tokenizer_config.json", "special_tokens_map.json"
FIVE = {"tokenizer_class": "TokenizersBackend", "backend": "tokenizers"}
# Name of the defect: what plants it, the file and a word that the message names, and, where not all, the heads.
DEFECTS: dict[str, tuple[Any, ...]] = {
    # files
    "no special_tokens_map.json": (delete(SPECIAL), SPECIAL, "no such file"),
    "no config.json": (delete(CONFIG), CONFIG, "no such file"),
    "no tokenizer.json": (delete(TOKENIZER), TOKENIZER, "no such file"),
    "no tokenizer_config.json": (delete(TOKENIZER_CONFIG), TOKENIZER_CONFIG, "no such file"),
    "linked weights": (link_weights, WEIGHTS, "a link to"),
    "sharded weights": (shard, "model.safetensors.index.json", "another form"),
    "renamed weights": (rename_file(WEIGHTS, "weights.safetensors"), WEIGHTS, "no such file"),
    "a folder in place of a file": (lambda f: [(f / SPECIAL).unlink(), (f / SPECIAL).mkdir()], SPECIAL, "a folder"),
    "weights cut off": (cut_off, WEIGHTS, "the header tells"),
    "operating_point.json": (write("operating_point.json"), "operating_point.json", "sigmoid"),
    "pytorch_model.bin beside": (write("pytorch_model.bin"), "pytorch_model.bin", "another form"),
    "lora_config.json beside": (write("lora_config.json"), "lora_config.json", "adapters"),
    # weights
    "a tensor missing": (weights(lambda t: t.pop("model.final_norm.weight")), WEIGHTS, "model.final_norm.weight"),
    "a tensor too many": (weights(add_tensor), WEIGHTS, "classifier.scale"),
    "another prefix": (weights(rename_all), WEIGHTS, "encoder."),
    "a classifier one row short": (weights(shorten), WEIGHTS, "classifier.bias"),
    "half precision": (weights(halve), WEIGHTS, "F16"),
    "vocab_size one less": (with_values(vocab_size=260), WEIGHTS, "tok_embeddings"),
    "vocab_size one more": (with_values(vocab_size=262), WEIGHTS, "tok_embeddings"),
    "an answer that is no number": (weights(make_infinite), WEIGHTS, "is no number"),
    # config
    "config.json is no JSON": (write(CONFIG, "{"), CONFIG, "cannot be read"),
    "another family": (with_values(model_type="bert"), CONFIG, "model_type"),
    "no architectures": (without("architectures"), CONFIG, "architectures"),
    "the body's architecture": (with_values(architectures=["ModernBertModel"]), CONFIG, "architectures"),
    "two architectures": (config(lambda c: c["architectures"].append("ModernBertModel")), CONFIG, "architectures"),
    "id2label with a gap": (config(leave_a_gap), CONFIG, "id2label"),
    "two names swapped": (config(move_names), CONFIG, "id2label"),
    "LABEL_n": (config(name_by_number), CONFIG, "LABEL_0"),
    "one label too many": (config(lambda c: c["id2label"].update({"99": "x"})), CONFIG, "'99'"),
    "labels without B- and I-": (config(take_prefixes), CONFIG, "id2label", ["spans"]),
    "a mapping in another order": (reverse_mapping, "_mapping.json", "other numbers"),
    "a mapping that counts from one": (count_mapping_from_one, "_mapping.json", "other numbers"),
    "no classifier_pooling": (without("classifier_pooling"), CONFIG, "classifier_pooling"),
    "cls pooling": (with_values(classifier_pooling="cls"), CONFIG, "classifier_pooling"),
    "nested theta unlike legacy": (config(set_theta), CONFIG, "sliding_attention.rope_theta"),
    "no theta at all": (without("rope_parameters", "local_rope_theta", "global_rope_theta"), CONFIG, "rope_theta"),
    "no local_attention": (without("local_attention"), CONFIG, "local_attention"),
    "no max_position_embeddings": (without("max_position_embeddings"), CONFIG, "max_position_embeddings"),
    "layer_types all full": (with_values(layer_types=["full_attention"] * 4), CONFIG, "layer_types"),
    "norm_eps 1e-3": (with_values(norm_eps=1e-3), CONFIG, "norm_eps"),
    "padding beyond the vocabulary": (with_values(pad_token_id=261), CONFIG, "pad_token_id"),
    "an unknown activation": (with_values(hidden_activation="mish"), CONFIG, "hidden_activation"),
    "several labels a text": (with_values(problem_type="multi_label_classification"), CONFIG, "problem_type"),
    "layers that are not there": (with_values(num_hidden_layers=5, layer_types=None), WEIGHTS, "layers.4"),
    # tokenizer
    "post_processor removed": (tokenizer(lambda c: c.update(post_processor=None)), TOKENIZER, "post_processor"),
    "add_prefix_space": (tokenizer(lambda c: c["pre_tokenizer"].update(add_prefix_space=True)), TOKENIZER, "' a'"),
    "add_prefix_space in the config": (
        tokenizer(lambda c: c.update(add_prefix_space=True), TOKENIZER_CONFIG), TOKENIZER_CONFIG, "add_prefix_space",
    ),
    "lower case": (tokenizer(lambda c: c.update(normalizer={"type": "Lowercase"})), TOKENIZER, "normalizer"),
    "a token beyond the vocabulary": (tokenizer(add_token), TOKENIZER, "[NEW]"),
    "tokenizer.json is no tokenizer": (write(TOKENIZER), TOKENIZER, "cannot be read"),
    "TokenizersBackend": (tokenizer(lambda c: c.update(FIVE), TOKENIZER_CONFIG), TOKENIZER_CONFIG, "tokenizer_class"),
    "a list of extra tokens": (
        tokenizer(lambda c: c.update(extra_special_tokens=["[UNK]"]), TOKENIZER_CONFIG), TOKENIZER_CONFIG, "a map",
    ),
    "other special tokens": (tokenizer(lambda c: c.update(cls_token="[SEP]"), SPECIAL), SPECIAL, "special tokens"),
    # answers
    "a model that finds no span": (weights(silence), WEIGHTS, "does not start", ["spans"]),
}  # fmt: skip
REACHED = [(name, head) for name, defect in DEFECTS.items() for head in (*defect[3:], list(HEADS))[0]]
QUICK = [(name, "spans" if DEFECTS[name][3:] else "detection") for name in DEFECTS]


def see_it_caught(name: str, head: str, folder: Path) -> None:
    plant, file, word = DEFECTS[name][:3]
    plant(folder)
    errors = failures(checked(head, folder))
    assert errors
    [first, *_] = [check for check in errors if check.file.endswith(file) and word in check.message] or [None]
    assert first, [check.message for check in errors]
    for part in ("expected: ", "found: ", "next: "):
        assert f"\n  {part}" in first.message


@pytest.mark.parametrize(("name", "release"), QUICK, indirect=["release"], ids=[name for name, _ in QUICK])
def test_a_defect_is_caught_by_name_of_its_file(name: str, release: tuple[str, Path]) -> None:
    see_it_caught(name, *release)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "release"), [pair for pair in REACHED if pair not in QUICK], indirect=["release"])
def test_a_defect_is_caught_in_every_head(name: str, release: tuple[str, Path]) -> None:
    see_it_caught(name, *release)


def test_an_empty_folder_and_one_that_is_not_there_are_told(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        missing = [check.file for check in check_package(folder, labels_of("spans"), TEXTS) if "no such file" in
                   check.message and check.name == "files"]  # fmt: skip
        assert missing == [CONFIG, WEIGHTS, TOKENIZER, TOKENIZER_CONFIG, SPECIAL]


# --- the second forward ---------------------------------------------------------------------------------------------

MISREADINGS: dict[str, Callable[[SecondForward], Any]] = {
    "the pooling": lambda forward: forward.config.pop("classifier_pooling"),
    "the window": lambda forward: forward.config.update(local_attention=18),
    "the angles": lambda forward: set_theta(forward.config),
    "the kinds of layers": lambda forward: forward.layer_types.sort(),
    "the norm": lambda forward: forward.config.update(norm_eps=1e-3),
    "the activation": lambda forward: forward.config.update(hidden_activation="gelu_new"),
    "the labels": lambda forward: turn_round(forward.weights),
}


def turn_round(tensors: dict[str, Any]) -> None:
    for kind in ("weight", "bias"):
        tensors[f"classifier.{kind}"] = tensors[f"classifier.{kind}"].flip(0)


@pytest.mark.parametrize("what", MISREADINGS)
def test_a_runtime_that_reads_one_thing_otherwise_shows_in_the_answers(
    what: str, releases: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here our own forward misreads: the comparison sees it, whichever side is wrong."""
    load = SecondForward.__init__

    def misread(forward: SecondForward, folder: Path) -> None:
        load(forward, folder)
        MISREADINGS[what](forward)

    monkeypatch.setattr(SecondForward, "__init__", misread)
    [check] = [check for check in failures(checked("detection", releases["detection"])) if check.name == "answers"]
    assert check.numbers["largest_difference"] > 1e-5


# --- spans ----------------------------------------------------------------------------------------------------------


def answers_of(*tags: str) -> list[TokenAnswer]:
    """One token a character; the first is sure by 0.5, the next by 0.25 and so on."""
    return [TokenAnswer(tag, 0.5 ** (i + 1), i, i + 1) for i, tag in enumerate(tags)]


@pytest.mark.parametrize(
    ("text", "tags", "expected"),
    [
        ("abc", ("O", "B-X", "I-X"), [PredictedSpan(1, 3, "X", 0.1875)]),
        ("abc", ("O", "I-X", "I-X"), [PredictedSpan(1, 3, "X", 0.1875)]),
        ("abc", ("B-X", "B-X", "O"), [PredictedSpan(0, 1, "X", 0.5), PredictedSpan(1, 2, "X", 0.25)]),
        ("abc", ("B-X", "I-Y", "O"), [PredictedSpan(0, 1, "X", 0.5), PredictedSpan(1, 2, "Y", 0.25)]),
        ("abc", ("B-X", "O", "I-X"), [PredictedSpan(0, 1, "X", 0.5), PredictedSpan(2, 3, "X", 0.125)]),
        (" b ", ("B-X", "I-X", "I-X"), [PredictedSpan(1, 2, "X", 0.875 / 3)]),
        ("  c", ("B-X", "I-X", "O"), []),
    ],
    ids=["B then I", "an orphan I opens", "two B", "another type", "after O", "trimmed", "white space alone"],
)
def test_spans_are_decoded_as_the_router_does(text: str, tags: tuple[str, ...], expected: list[PredictedSpan]) -> None:
    assert decode_spans(text, answers_of(*tags)) == expected


def test_windows_cover_a_text_and_each_token_has_the_one_with_most_context() -> None:
    windows = list(cut_windows(10, 4, 2))
    assert windows == [range(4), range(2, 6), range(4, 8), range(6, 10)]
    assert choose_windows(windows).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3, 3]
    assert list(cut_windows(3, 4, 2)) == [range(3)]
    assert list(cut_windows(0, 4, 2)) == [range(0)]


# --- other versions of transformers ---------------------------------------------------------------------------------

ANSWER = """
import json, sys
import torch, transformers

folder, kind, texts = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
classifier = transformers.pipeline(kind, model=folder, device=-1)
options = {"top_k": None} if kind == "text-classification" else {"ignore_labels": []}
answers = [sorted((e.get("index", 0), e.get("label", e.get("entity")), float(e["score"])) for e in
                  classifier([text], **options)[0]) for text in texts]
ids = [classifier.tokenizer(text)["input_ids"] for text in texts]
print(json.dumps({"version": transformers.__version__, "ids": ids, "answers": answers}))
"""
OTHERS = {
    "4.48": ("transformers==4.48.3", "tokenizers==0.21.4", "huggingface_hub==0.36.2"),
    "4.57": ("transformers==4.57.6", "tokenizers==0.22.2", "huggingface_hub==0.36.2"),
}


@pytest.fixture(scope="module", params=OTHERS)
def other_python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """An environment with another transformers, and for the rest the packages of this one."""
    folder = tmp_path_factory.mktemp("environment") / request.param
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    python = folder / "bin" / "python"
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check",
         *OTHERS[request.param]], capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"pip cannot install {OTHERS[request.param][0]}: {done.stderr.strip().splitlines()[-1]}")
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "reused.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return request.param, python


def ask(python: str | Path, folder: Path, head: str) -> dict[str, Any]:
    kind = REPOS[head].head.pipeline
    done = subprocess.run(
        [str(python), "-W", "ignore", "-c", ANSWER, str(folder), kind, json.dumps(TEXTS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def distance(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    pairs = [(a, b) for one, two in zip(ours["answers"], theirs["answers"], strict=True)
             for a, b in zip(one, two, strict=True)]  # fmt: skip
    assert [(i, label) for (i, label, _), _ in pairs] == [(i, label) for _, (i, label, _) in pairs]
    return max(abs(a[2] - b[2]) for a, b in pairs)


@pytest.mark.exhaustive
@pytest.mark.parametrize("head", REPOS)
def test_other_versions_of_transformers_answer_the_same(
    head: str, releases: dict[str, Path], other_python: tuple[str, Path], tmp_path: Path
) -> None:
    version, python = other_python
    ours, theirs = ask(sys.executable, releases[head], head), ask(python, releases[head], head)
    assert theirs["version"].startswith(version)
    assert theirs["ids"] == ours["ids"]
    assert distance(ours, theirs) <= 1e-5
    changed = shutil.copytree(releases[head], tmp_path / "changed")
    with_values(layer_types=None, global_attn_every_n_layers=1)(changed)
    other = ask(python, changed, head)
    assert other["answers"] != theirs["answers"], "the key that only transformers 4 reads is read there"


ANSWER_ALL = """
import json, sys
import torch, transformers
from safetensors.torch import load_file
from transformers.models.modernbert.modeling_modernbert import ModernBertPredictionHead as Head

folder, texts = sys.argv[1], json.loads(sys.argv[2])
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
body = transformers.AutoModel.from_pretrained(folder).eval()
about = json.load(open(f"{folder}/heads.json"))
heads = torch.nn.ModuleDict({task: torch.nn.ModuleDict({
    "head": Head(body.config), "classifier": torch.nn.Linear(body.config.hidden_size, len(of["labels"])),
}) for task, of in about.items()})
heads.load_state_dict(load_file(f"{folder}/heads.safetensors"))
found = []
with torch.inference_mode():
    for text in texts:
        hidden = body(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        for task, of in about.items():
            seen = hidden.mean(0, keepdim=True) if of["kind"] == "sequence" else hidden
            found += heads[task]["classifier"](heads[task]["head"](seen)).softmax(-1).flatten().tolist()
print(json.dumps({"version": transformers.__version__, "answers": found}))
"""


@pytest.mark.exhaustive
def test_the_repo_of_all_four_tasks_answers_the_same_in_other_versions(
    other_python: tuple[str, Path], tmp_path: Path
) -> None:
    from hubtools.training.multitask_release import assemble

    folders, parts = {}, []
    for name, task in TASKS.items():
        folders[name] = TaskFolder(tmp_path / name)
        make_release(folders[name].model, task)
        temperature = Temperature(temperature=1.0, split="validation", answers=1, result="none")
        write_record(folders[name].model / "calibration.json", temperature)
        parts.append(SimpleNamespace(task=task, labels=task.model_labels(task.label_set())))
    fresh, first = tmp_path / "multi", folders["category"].model
    fresh.mkdir()
    AutoTokenizer.from_pretrained(first).save_pretrained(fresh)
    assemble(fresh, AutoConfig.from_pretrained(first), folders, parts)  # type: ignore[arg-type]
    found = {}
    for name, python in (("here", sys.executable), other_python):
        done = subprocess.run(
            [str(python), "-W", "ignore", "-c", ANSWER_ALL, str(fresh), json.dumps(TEXTS)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        found[name] = json.loads(done.stdout.splitlines()[-1])
    version = other_python[0]
    assert found[version]["version"].startswith(version)
    assert found[version]["answers"] == pytest.approx(found["here"]["answers"], abs=1e-5)


@pytest.mark.exhaustive
def test_a_tokenizer_as_transformers_5_saves_it_does_not_load_in_4(
    releases: dict[str, Path], other_python: tuple[str, Path], tmp_path: Path
) -> None:
    """Should this fail, the class need not be renamed any more."""
    folder = shutil.copytree(releases["detection"], tmp_path / "as-5")
    change_json(folder / TOKENIZER_CONFIG, lambda content: content.update(FIVE))
    done = subprocess.run(
        [str(other_python[1]), "-W", "ignore", "-c", ANSWER, str(folder), "text-classification", "[]"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "TokenizersBackend" in done.stderr


def test_every_task_has_a_head_that_is_tried_here() -> None:
    assert {task.head.name for task in TASKS.values()} == set(HEADS)
