"""The check behind /api/validate-yaml."""

from __future__ import annotations

import pytest

from hubtools.localhub.cards import CardError, parse, split, validate

RESULT = """
model-index:
- name: m
  results:
  - task: {type: text-classification}
    dataset: {type: local/d, name: d}
    metrics: [{type: f1, value: 0.9}]
"""


def card(front: str) -> str:
    return f"---\n{front.strip()}\n---\n# Title\n"


@pytest.mark.parametrize(
    ("kind", "front"),
    [
        (
            "model",
            "license: mit\nlanguage: [en, no]\ntags: [a]\ndatasets: [local/d]\nbase_model: a/b" + RESULT,
        ),
        ("model", "license: cc-by-sa-3.0\nwidget:\n- text: hi\n  output: [{label: a, score: 0.5}]"),
        (
            "dataset",
            "license: [mit, apache-2.0]\nsize_categories: [1K<n<10K]\nconfigs: [{config_name: default}]",
        ),
        (
            "dataset",
            "extra_gated_prompt: Be kind.\n"
            "extra_gated_fields: {Name: text, I agree: checkbox, For: {type: select, options: [a, b]}}",
        ),
        (
            "space",
            "sdk: gradio\ncolorFrom: blue\ncolorTo: green\nemoji: 🚦\nshort_description: short",
        ),
    ],
)
def test_a_good_card_passes_without_a_word(kind: str, front: str) -> None:
    assert validate(card(front), kind) == ([], [])


@pytest.mark.parametrize(
    ("kind", "front", "said"),
    [
        ("dataset", "extra_gated_prompt: [a]", '"extra_gated_prompt" must be a string'),
        ("dataset", "extra_gated_fields: [a]", '"extra_gated_fields" must be of type object'),
        ("dataset", "extra_gated_fields: {Name: line}", '"extra_gated_fields.Name" must be one of'),
        ("dataset", "extra_gated_fields: {For: select}", '"extra_gated_fields.For.options" must be an array'),
        ("model", "license: mine", '"license" must be one of'),
        ("model", "widget: {text: hi}", '"widget" must be an array'),
        ("model", "datasets: [null]", '"datasets[0]" must be a string, found "null"'),
        ("model", "datasets: [/data/mine]", '"datasets[0]" with value "/data/mine" is not valid'),
        (
            "model",
            "base_model: ./out/checkpoint-1",
            '"base_model[0]" with value "./out/checkpoint-1" is not valid',
        ),
        ("model", "language: english", '"language" with value "english" is not valid'),
        ("model", "tags: router", '"tags" must be an array'),
        (
            "model",
            RESULT.replace("type: text-classification", "name: x"),
            'results[0].task.type" is required',
        ),
        ("model", RESULT.replace("type: local/d, ", ""), 'results[0].dataset.type" is required'),
        ("model", RESULT.replace(", name: d", ""), 'results[0].dataset.name" is required'),
        ("model", RESULT.replace("type: f1, ", ""), 'metrics[0].type" is required'),
        ("model", RESULT.replace(", value: 0.9", ""), 'metrics[0].value" is required'),
        ("model", RESULT.replace("0.9", ".nan"), "not finite"),
        ("model", "value: !!python/object/apply:numpy.float64 [1]", "could not determine a constructor"),
        ("model", "license: mit\nlicense: mit", 'duplicated key "license"'),
        ("model", "a: [1", "Invalid YAML"),
        ("model", "- a", "must be a mapping"),
        ("dataset", "configs: default", '"configs" must be an array'),
        ("space", "title: x", '"sdk" is required'),
        ("space", "sdk: flask", '"sdk" must be one of'),
        ("space", "sdk: gradio\ncolorFrom: orange", '"colorFrom" must be one of'),
        ("space", f"sdk: gradio\nshort_description: {'x' * 61}", "less than or equal to 60 characters"),
    ],
)
def test_a_known_rejection_is_an_error_that_names_the_field(kind: str, front: str, said: str) -> None:
    errors, _ = validate(card(front), kind)
    assert any(said in error for error in errors), errors


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("model", card("pipeline_tag: prompt-classification"), "not in the official list"),
        ("dataset", card("size_categories: [huge]"), "not in the official list"),
        ("model", "# No front matter\n", "empty or missing yaml metadata"),
    ],
)
def test_what_the_hub_takes_with_a_frown_is_a_warning(kind: str, text: str, said: str) -> None:
    errors, warnings = validate(text, kind)
    assert errors == []
    assert any(said in warning for warning in warnings)


def test_front_matter_is_split_from_the_body() -> None:
    assert split("---\na: 1\n---\n\n# T\n---\n") == ("a: 1", "# T\n---\n")
    assert split("# T\n---\na: 1\n---\n") == (None, "# T\n---\na: 1\n---\n")
    assert split("---\r\na: 1\r\n---\r\nT") == ("a: 1", "T")
    assert parse("---\n---\nT") == {}


def test_values_become_json_safe() -> None:
    assert parse(card("when: 2026-01-31\n1: one\nlanguage: no")) == {
        "when": "2026-01-31",
        "1": "one",
        "language": "no",
    }
    with pytest.raises(CardError, match="contains itself"):
        parse(card("a: &a [*a]"))
