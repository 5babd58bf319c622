"""A graph of all four tasks that nobody trained: each token speaks for labels, by a table.

It stands in for the multitask model where a page is looked at and not the model: it is made in no time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hubtools.assets import find_asset
from hubtools.tasks import TASKS

NANO = find_asset("hubtools/starter") / "hubtools" / "modernbert-nano"
LABELS = {name: task.model_labels(task.label_set()) for name, task in TASKS.items()}
# Whose tokens speak for which label; all others for the first label a little.
SPEAK = {
    "category": {" derivative": "math", " meeting": "business", "x": "math"},
    "intent": {" derivative": "calculation", " e": "communication", "mail": "communication", " meeting": "scheduling"},
    "jailbreak": {" Ignore": "jailbreak", "Ignore": "jailbreak", " instructions": "jailbreak"},
    "pii": {
        " Maria": "B-PERSON", " Keller": "I-PERSON", "Maria": "B-PERSON", " Anna": "B-PERSON",
        " maria": "B-EMAIL_ADDRESS", "@": "I-EMAIL_ADDRESS", "example": "I-EMAIL_ADDRESS", "com": "I-EMAIL_ADDRESS",
    },
}  # fmt: skip


def make_repo(folder: Path) -> Path:
    """Write a repo with the nano model's tokenizer and the graph, as ``push-model multi`` lays it out."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from tokenizers import Tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((NANO / name).read_bytes())
    tokenizer = Tokenizer.from_file(str(NANO / "tokenizer.json"))
    nodes, tables, outputs = [], [], []
    for task, names in LABELS.items():
        table = np.zeros((tokenizer.get_vocab_size(), len(names)), dtype=np.float32)
        table[:, 0] = 3
        for word, label in SPEAK[task].items():
            ids = tokenizer.encode(word, add_special_tokens=False).ids
            table[ids] = 0
            # Of a whole text the mean over all its tokens counts.
            table[ids, names.index(label)] = 6 if task == "pii" else 2000
        whole = not TASKS[task].head.per_token
        tables.append(numpy_helper.from_array(table, f"{task}_table"))
        nodes.append(helper.make_node("Gather", [f"{task}_table", "input_ids"], [f"{task}_tokens" if whole else task]))
        if whole:
            tables.append(numpy_helper.from_array(np.array([1], dtype=np.int64), f"{task}_axis"))
            nodes.append(helper.make_node("ReduceMean", [f"{task}_tokens", f"{task}_axis"], [task], keepdims=0))
        shape = ["batch", len(names)] if whole else ["batch", "sequence", len(names)]
        outputs.append(helper.make_tensor_value_info(task, TensorProto.FLOAT, shape))
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask")
    ]
    graph = helper.make_graph(nodes, "handmade", inputs, outputs, tables)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (folder / "onnx").mkdir(exist_ok=True)
    onnx.save(model, folder / "onnx" / "model.onnx")
    return folder


def describe(repo: str, revision: str | None) -> dict[str, dict[str, Any]]:
    """What models.json says of each task's graph."""
    common = {"repo": repo, "revision": revision, "file": "onnx/model.onnx"}
    return {name: {**common, "output": name, "labels": names} for name, names in LABELS.items()}
