"""The Space's README: front matter that the Hub accepts, and a body without holes."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest
import yaml
from space_copy import SPACE

from hubtools.publishing.lint import lint_card

MODELS = [
    {"task": task, "repo": f"ann/{task}_model", "revision": task[0] * 40, "title": title, "question": ask, "head": head}
    for task, title, ask, head in (
        ("category", "Domain", "What is it about?", "classification"),
        ("pii", "Personal data", "Does it hold personal data?", "spans"),
        ("toxicity", "Toxicity", "Is it toxic?", "detection"),
    )
]
VALUES: dict[str, Any] = {
    "sdk": "gradio",
    "sdk_version": "6.31.0",
    "hardware": "cpu-basic",
    "preloaded": [f"{model['repo']} model.safetensors,tokenizer.json {model['revision']}" for model in MODELS],
    "python_version": "3.12",
    "models": MODELS,
    "number": "three",
    "architectures": ["modernbert"],
    "datasets": ["ann/router-category", "ann/router-pii"],
    "license": "apache-2.0",
    "languages": "English",
    "notes": "Nano models: they show the form, not the quality.",
}
COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


def render(**changes: Any) -> tuple[dict[str, Any], str]:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    text = environment.from_string((SPACE / "README.md.jinja").read_text()).render({**VALUES, **changes})
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def test_the_front_matter_is_what_the_hub_expects() -> None:
    front, _ = render()
    assert front["sdk"] == "gradio"
    assert front["sdk_version"] == "6.31.0"
    assert front["python_version"] == "3.12"
    assert (SPACE / front["app_file"]).is_file()
    assert len(front["short_description"]) <= 60
    assert {front["colorFrom"], front["colorTo"]} <= COLORS
    assert front["models"] == [model["repo"] for model in MODELS]
    assert front["datasets"] == VALUES["datasets"]
    assert "mcp-server" in front["tags"]


@pytest.mark.parametrize(
    ("sdk", "has", "lacks"),
    [
        ("static", {"app_file": "index.html"}, {"sdk_version", "app_port", "preload_from_hub", "suggested_hardware"}),
        ("docker", {"app_port": 7860}, {"sdk_version", "app_file", "preload_from_hub"}),
        ("gradio", {"app_file": "app.py", "suggested_hardware": "cpu-basic"}, {"app_port"}),
    ],
)
def test_each_form_has_the_keys_that_the_hub_reads_of_it(sdk: str, has: dict[str, Any], lacks: set[str]) -> None:
    front, body = render(sdk=sdk)
    assert front["sdk"] == sdk
    assert has.items() <= front.items()
    assert not lacks & front.keys()
    assert ("Nothing you type leaves your browser" in body) == (sdk == "static")
    assert ("mcp-server" in front["tags"]) == ("`/route`" in body) == (sdk != "static")
    lint_card(f"---\n{yaml.safe_dump(front)}---\n{body}", "space")


def test_what_is_preloaded_is_what_the_app_pins() -> None:
    front, _ = render()
    for line, model in zip(front["preload_from_hub"], MODELS, strict=True):
        repo, files, revision = line.split(" ")
        assert (repo, revision) == (model["repo"], model["revision"])
        assert "model.safetensors" in files.split(",")


def test_the_body_names_each_model_at_its_commit() -> None:
    _, body = render()
    for model in MODELS:
        assert (
            f"| {model['task']} | [{model['repo']}](https://huggingface.co/{model['repo']}/tree/{model['revision']})"
            in body
        )
    assert VALUES["notes"] in body
    assert "\n\n\n" not in body
    assert "\n\n\n" not in render(notes="")[1]


def test_the_words_follow_the_number_of_tasks() -> None:
    front, body = render()
    assert front["short_description"] == "Three questions a router asks of every prompt"
    assert "asks three questions of every prompt" in body
    assert "What is it about? Does it hold personal data? Is it toxic? This Space" in body
    assert "tokens are read for: Domain." in body
    assert "in overlapping windows, for: Personal data, Toxicity." in body
    assert "`/route`, `/category`, `/pii` and `/toxicity` answer" in body
    front, body = render(models=MODELS[2:], number="one", datasets=[])
    assert front["short_description"] == "A question a router asks of every prompt"
    assert "datasets" not in front
    assert "asks a question of every prompt before a language model sees it: Is it toxic? This Space asks it" in body
    assert "`/route` and `/toxicity` answer" in body
    assert "highlight" not in body
    assert "tokens are read for" not in body
    assert "\n\n\n" not in body


def test_the_languages_are_those_of_the_models() -> None:
    assert "- The models know German and French only;" in render(languages="German and French")[1]
    assert "know" not in render(languages="")[1].split("No answer here")[1]


@pytest.mark.parametrize("name", sorted(VALUES))
def test_a_forgotten_value_is_an_error(name: str) -> None:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    values = {key: value for key, value in VALUES.items() if key != name}
    with pytest.raises(jinja2.UndefinedError, match=name):
        environment.from_string((SPACE / "README.md.jinja").read_text()).render(values)
