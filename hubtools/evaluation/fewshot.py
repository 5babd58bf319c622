"""SetFit as a baseline: what eight examples a class reach, on the embeddings of the run's own base model."""

from __future__ import annotations

import random
import tempfile
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

NAME = "SetFit, 8 shots a class"
SHOTS = 8
PAIRS = 20  # each example is put beside as many of its own class, and as many of others
MAX_LENGTH = 256  # tokens: enough for a prompt, and contrastive training reads every text many times


def shots(labels: Sequence[int], count: int, seed: int) -> list[int]:
    """Row numbers: ``count`` of each label, or all that it has, drawn by ``seed``; in the order of the labels."""
    rows: dict[int, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        rows[label].append(row)
    draw = random.Random(seed)
    return [row for label in sorted(rows) for row in sorted(draw.sample(rows[label], min(count, len(rows[label]))))]


def few_shot(
    base: str, revision: str | None, texts: Sequence[str], labels: Sequence[int], test: Sequence[str], classes: int,
    seed: int = 0,
) -> np.ndarray:  # fmt: skip
    """(rows, classes): probabilities of SetFit (Tunstall et al. 2022), trained on eight rows of each class.

    Args:
        base: encoder whose mean-pooled tokens are the embedding that is trained, a repo or a folder.
    """
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from setfit import SetFitModel, Trainer, TrainingArguments
    from sklearn.linear_model import LogisticRegression

    chosen = shots(labels, SHOTS, seed)
    body = SentenceTransformer(base, revision=revision)
    body.max_seq_length = min(MAX_LENGTH, body.max_seq_length or MAX_LENGTH)
    model = SetFitModel(model_body=body, model_head=LogisticRegression(max_iter=1000))
    with tempfile.TemporaryDirectory() as aside:
        arguments = TrainingArguments(
            output_dir=aside, batch_size=16, num_epochs=1, num_iterations=PAIRS, seed=seed, report_to="none",
            save_strategy="no", show_progress_bar=False,
        )  # fmt: skip
        rows = Dataset.from_dict({"text": [texts[i] for i in chosen], "label": [labels[i] for i in chosen]})
        Trainer(model=model, args=arguments, train_dataset=rows).train()
    out = np.zeros((len(test), classes))
    out[:, model.model_head.classes_] = model.predict_proba(list(test), as_numpy=True, show_progress_bar=False)
    return out
