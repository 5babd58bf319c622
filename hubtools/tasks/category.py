"""The domain of a prompt, in the 14 classes of MMLU-Pro.

Labels and their order are the router's (``pkg/classification/mapping.go``): it accepts exactly these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hubtools.heads import Classification
from hubtools.metrics.labels import MACRO_F1
from hubtools.rows import read_labelled_row, read_text
from hubtools.spec import BadRow, CardTexts, Demo, Example, LabelSet, Source
from hubtools.task import TaskSpec
from hubtools.tasks.category_augmentation import AUGMENTATIONS
from hubtools.tasks.category_sources import FURTHER
from hubtools.tasks.further import make_benchmark

LABELS = (
    "biology",
    "business",
    "chemistry",
    "computer science",
    "economics",
    "engineering",
    "health",
    "history",
    "law",
    "math",
    "other",
    "philosophy",
    "physics",
    "psychology",
)

# Ten wider domains, from MMLU-Pro's. "other" has no place among them: its rows are left out.
SEED10 = {
    "math": "mathematics",
    "physics": "physics",
    "chemistry": "chemistry",
    "biology": "biology",
    "computer science": "computer_science",
    "engineering": "engineering",
    "economics": "economics_business",
    "business": "economics_business",
    "health": "health_psychology",
    "psychology": "health_psychology",
    "law": "law",
    "history": "history_philosophy",
    "philosophy": "history_philosophy",
}


def read_mmlu_pro_row(row: Mapping[str, object]) -> Example:
    """Return the question alone as the prompt: options and reasoning are not what a router sees."""
    # Checked here, against the source's own names: the label set drops what it does not have.
    label = row.get("category")
    if not isinstance(label, str) or label not in LABELS:
        raise BadRow(f"unknown label {label!r}")
    return Example(text=read_text(row, "question"), label=label)


MMLU_PRO = Source(
    id="TIGER-Lab/MMLU-Pro",
    # Its splits are the questions of a benchmark and few-shot examples for them: all is one pool.
    files={"": ("data/test-*.parquet", "data/validation-*.parquet")},
    columns=("question", "category"),
    row=read_mmlu_pro_row,
    license="mit",
    attribution=(
        "MMLU-Pro (Wang et al., 2024), MIT on its Hub card and Apache-2.0 in its repository. "
        "This holds its test questions: do not score models on MMLU-Pro that learned from this set."
    ),
    provenance="MMLU-Pro's `category`; the text is the question without its options.",
    annotators="expert-generated",
)

STARTER = Source(
    id="hubtools/starter-category",
    files={"": ("data.jsonl",)},
    columns=("text", "label"),
    row=read_labelled_row,
    license="apache-2.0",
    attribution="Prompts of hubtools' own writing.",
    provenance="Its authors wrote each prompt for its label.",
    starter=True,
    annotators="expert-generated",
)

CATEGORY = TaskSpec(
    name="category",
    title="Domain",
    head=Classification(fallback="other"),  # where the router sends a prompt whose domain is unsure
    question="Which of MMLU-Pro's 14 domains is the prompt about?",
    label_sets=(
        LabelSet("mmlu14", LABELS, {label: label for label in LABELS}),
        LabelSet("seed10", tuple(dict.fromkeys(SEED10.values())), SEED10),
    ),
    sources=(
        MMLU_PRO,
        # Of our own writing: a corpus for the demo, and beside public data a part of what is trained on.
        replace(STARTER, role="training", name="starter", share=0.4),
        *FURTHER,
        make_benchmark(STARTER, "category"),
    ),
    starter=STARTER,
    augmentations=AUGMENTATIONS,
    group_name="near-duplicate cluster",
    primary=MACRO_F1,
    model_name="category_classifier_{base}_model",
    mapping_file="category_mapping.json",
    slot_of_router="domain",
    mapping_noun="category",  # the router reads "category_to_idx"
    version="2",
    card=CardTexts(noun="prompt"),
    task_ids=("topic-classification",),
    overrides={"epochs": 3, "batch_size": 8, "learning_rate": 2e-5, "weight_decay": 0.1},
    examples=(
        "What is the derivative of x squared times the sine of x?",
        "Does a landlord have to return my deposit if the lease was never signed?",
        "Why do enzymes stop working above a certain temperature?",
    ),
    demo=Demo(
        question="What is it about?",
        about=(
            "Which of the 14 subject domains of MMLU-Pro the prompt belongs to, so that it goes to a model that is "
            "good at that subject."
        ),
        examples=(
            "What is the derivative of x^2 * sin(x), and where does it vanish between 0 and pi?",
            "Which enzyme unwinds the DNA double helix during replication?",
            "Does a verbal promise to sell land bind the seller?",
        ),
        example_titles=("A calculus question",),
        action="send to the {label} model",
        topic="subject domain",
        tool='Find the subject domain of a prompt among the 14 of MMLU-Pro, from "biology" to "psychology".',
        returns="The probability of each domain, best first.",
    ),
)
