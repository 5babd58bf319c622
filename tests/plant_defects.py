"""Plant defects in copies of a release and verify each: ``python plant_defects.py REPO`` prints a JSON object.

Each copy is a branch of the repo that begins at its tag v1. "resealed" defects come with a manifest that was made
anew, as a release with the defect would have it: what is wrong is then seen in the files alone.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, snapshot_download

from hubtools.errors import HubtoolsError
from hubtools.publishing.manifest import describe_manifest, make_manifest
from hubtools.publishing.verification import verify_release
from hubtools.records import from_json
from hubtools.records.release import Manifest

Plant = Callable[[Path], None]


def edit(path: str, change: Callable[[Any], Any]) -> Plant:
    """Change the JSON in a file in place."""

    def plant(folder: Path) -> None:
        content = json.loads((folder / path).read_text())
        change(content)
        (folder / path).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    return plant


def change_weights(change: Callable[[dict[str, Any]], None]) -> Plant:
    def plant(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    return plant


def change_predictions(folder: Path) -> None:
    """Make one row a little less sure of itself."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "predictions.parquet")
    rows = table["probabilities"].to_pylist()
    rows[7] = [0.5 * p + 0.25 for p in rows[7]]
    place = table.schema.get_field_index("probabilities")
    table = table.set_column(place, table.schema.field(place), pa.array(rows, table.schema.field(place).type))
    pq.write_table(table, folder / "predictions.parquet")


def flip_bit(folder: Path) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-3] ^= 1
    (folder / "model.safetensors").write_bytes(data)


def swap_labels(config: dict[str, Any]) -> None:
    names = config["id2label"]
    names["0"], names["1"] = names["1"], names["0"]
    config["label2id"] = {name: int(i) for i, name in names.items()}


def shift_mapping(content: dict[str, Any]) -> None:
    """Number every label one higher than it is."""
    for key, value in content.items():
        if key == "label_to_idx":
            content[key] = {name: (i + 1) % len(value) for name, i in value.items()}
        elif key == "idx_to_label":
            content[key] = {str((int(i) + 1) % len(value)): name for i, name in value.items()}


def scale_logits(tensors: dict[str, Any]) -> None:
    """What another temperature would make of the last layer."""
    for name in tensors:
        if name.startswith("classifier."):
            tensors[name] = tensors[name] / 1.5


def shard(folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder / "model-00001-of-00001.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {}}')


def write(path: str, content: str) -> Plant:
    return lambda folder: (folder / path).write_text(content) and None


def remove(path: str) -> Plant:
    return lambda folder: (folder / path).unlink()


def change_vocabulary(content: dict[str, Any]) -> None:
    """Let two frequent words change places, as in the tokenizer of another model."""
    vocabulary = content["model"]["vocab"]
    words = [word for word in vocabulary if word.isalpha() and len(word) > 2][:200]
    for a, b in zip(words[::2], words[1::2], strict=False):
        vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]


def change_index(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    before, _, after = text.partition("      value: ")
    number, _, rest = after.partition("\n")
    (folder / "README.md").write_text(f"{before}      value: {float(number) / 2}\n{rest}")


def change_card_number(folder: Path) -> None:
    value = json.loads((folder / "metrics.json").read_text())["primary"]["value"]
    text = (folder / "README.md").read_text()
    front, body = text.split("\n---\n", 1)
    (folder / "README.md").write_text(front + "\n---\n" + body.replace(f"{value:.3f}", f"{value + 0.02:.3f}", 1))


def write_around(folder: Path) -> None:
    """Do what the card invites to: text above and below our part, and a key of the front matter that we do not set."""
    front, body = (folder / "README.md").read_text().split("\n---\n", 1)
    words = "Our team uses this at night."
    (folder / "README.md").write_text(f"{front}\nthumbnail: ours.png\n---\n\n{words}\n{body}\n{words}\n")


MAPPING = "jailbreak_type_mapping.json"
DEFECTS: dict[str, tuple[str, Plant]] = {
    # name: the file that the message must name, and what is done
    "labels swapped in the configuration": ("config.json", edit("config.json", swap_labels)),
    "one bit of the weights": ("model.safetensors", flip_bit),
    "a number of the card": ("README.md", change_card_number),
    "a number of the model-index": ("README.md", change_index),
    "a score": ("metrics.json", edit("metrics.json", lambda m: m["scores"]["accuracy"].update(value=0.99))),
    "the threshold": (
        "thresholds.json",
        edit("thresholds.json", lambda t: t["weights"]["model.safetensors"].update(threshold=0.123)),
    ),
    "a mapping off by one": (MAPPING, edit(MAPPING, shift_mapping)),
    "no RoPE key": ("config.json", edit("config.json", lambda c: c.pop("global_rope_theta"))),
    "no layer_norm_eps": ("config.json", edit("config.json", lambda c: c.pop("layer_norm_eps"))),
    "cls pooling": ("config.json", edit("config.json", lambda c: c.update(classifier_pooling="cls"))),
    "weights of another form beside ours": ("pytorch_model.bin", write("pytorch_model.bin", "x")),
    "an adapter beside ours": ("lora_config.json", write("lora_config.json", "{}")),
    "code": ("modeling.py", write("modeling.py", "import os")),
    "one row of the predictions": ("predictions.parquet", change_predictions),
    "sharded weights": ("model.safetensors", shard),
    "a tokenizer of another vocabulary": ("tokenizer.json", edit("tokenizer.json", change_vocabulary)),
    "another temperature": ("model.safetensors", change_weights(scale_logits)),
    "another manifest": ("manifest.json", edit("manifest.json", lambda m: m["files"].popitem())),
}
# What is wrong though every hash is right: the message names the file where it shows.
RESEALED = {
    "labels swapped in the configuration": "config.json",
    "one row of the predictions": "metrics.json",
    "a number of the card": "README.md",
    "a number of the model-index": "README.md",
    "a score": "metrics.json",
    "the threshold": "thresholds.json",
    "a mapping off by one": MAPPING,
    "no RoPE key": "config.json",
    "no layer_norm_eps": "config.json",
    "cls pooling": "config.json",
    "another temperature": "answers otherwise",
    "a tokenizer of another vocabulary": "answers otherwise",
}


def read_files(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


PROSE = "a person's own words on the card"


def main() -> None:
    [repo] = sys.argv[1:]
    api = HfApi()
    original = Path(snapshot_download(repo, revision="v1"))
    message = api.list_repo_commits(repo, revision="v1")[0]
    found: dict[str, str] = {}

    def judge(name: str, plant: Plant, *, reseal: bool = False) -> None:
        branch = f"defect-{uuid.uuid4().hex}"
        api.create_branch(repo, branch=branch, revision="v1")
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(shutil.copytree(original, Path(scratch) / "copy"))
            before = read_files(folder)
            plant(folder)
            after = read_files(folder)
            description = ""
            if reseal:
                old = from_json(json.loads(before["manifest.json"]), Manifest)
                sealed = {path: data for path, data in after.items() if path in old.files}
                after["manifest.json"] = make_manifest(old.task, old.dataset, sealed, after["README.md"].decode())
                description = describe_manifest(after["manifest.json"])
            operations: list[CommitOperationAdd | CommitOperationDelete] = [
                CommitOperationAdd(path, data) for path, data in after.items() if before.get(path) != data
            ]
            operations += [CommitOperationDelete(path) for path in before.keys() - after.keys()]
            assert operations, name
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*commit a data file.*")
                title = message.title if reseal else "a change"
                api.create_commit(
                    repo, operations, commit_message=title, commit_description=description, revision=branch
                )
        try:
            verify_release(api, repo, branch)
            found[name] = ""
        except HubtoolsError as error:
            found[name] = str(error)

    for name, (_, plant) in DEFECTS.items():
        judge(name, plant)
    for path in sorted(path.relative_to(original).as_posix() for path in original.rglob("*") if path.is_file()):
        judge(f"without {path}", remove(path))
    for name in RESEALED:
        judge(f"resealed: {name}", DEFECTS[name][1], reseal=True)
    judge(PROSE, write_around)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
