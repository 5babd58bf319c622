"""The files of a Space, in each of the three forms in which it is published."""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal, get_args

from hubtools.assets import find_asset
from hubtools.errors import MissingStage, UsageError
from hubtools.publishing.front_matter import END, START, join_card, split_card
from hubtools.publishing.lint import lint_card
from hubtools.publishing.published_files import read_released
from hubtools.publishing.space_graphs import ReleasedGraph, find_graphs
from hubtools.publishing.space_models import describe_models, find_released, name_languages
from hubtools.task import TaskSpec
from hubtools.tasks import MULTI
from hubtools.workdir import TaskFolder

# Exact: the Hub builds the Space with these, whatever is newest when somebody looks at it.
GRADIO = "6.31.0"
PYTHON = "3.11"
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
# What an app needs beside gradio; with the graphs of all its models it does without torch and transformers.
BY_GRAPHS = ("mcp", "numpy", "onnxruntime", "regex", "tokenizers")
BY_WEIGHTS = ("mcp", "numpy", "regex", "torch", "transformers")
WASM = "ort-wasm-simd-threaded.wasm"

Sdk = Literal["gradio", "docker", "static"]
SDKS: tuple[Sdk, ...] = get_args(Sdk)
ZERO_GPU = "zero-a10g"  # the Hub's name of the hardware that is lent by the call


@dataclass(frozen=True)
class SpaceForm:
    """How a Space is published.

    Attributes:
        sdk: gradio: an app that the Hub runs; docker: the same in a container; static: a page that answers in the
            browser of whoever opens it.
        zero_gpu: of gradio: ask for the hardware that is lent by the call.
    """

    sdk: Sdk = "gradio"
    zero_gpu: bool = False


def list_space_files(
    tasks: Sequence[TaskSpec], folders: Mapping[str, TaskFolder], form: SpaceForm
) -> dict[str, bytes | Path]:
    """Return every file of the Space for those of ``tasks`` that are released, by its path.

    Args:
        folders: of the tasks by their names, and of the multitask model.

    Raises:
        MissingStage: none of them is released; for a static page, also where one has no ONNX file.
        UsageError: for a static page: it could not read or load a model.
    """
    from huggingface_hub import constants

    released = find_released(tasks, folders)
    static = form.sdk == "static"
    graphs = find_graphs(released, folders, folders[MULTI], int8=static)
    if static:
        _check_graphs(released, folders, graphs)
    models = describe_models(released, folders, graphs)
    if static:
        files = list_static_files(models, constants.ENDPOINT)
    else:
        files = list_app_files(list_requirements(models, form)) | {"models.json": _to_json({"models": models})}
    if form.sdk == "docker":
        files["Dockerfile"] = find_asset("spaces") / "docker" / "Dockerfile"
    return files | {"README.md": _render_readme(models, released, folders, form)}


def list_app_files(requirements: Sequence[str]) -> dict[str, bytes | Path]:
    """Return the files of the app that are the same whatever is released, by their paths.

    The modules that read a text are those of this package: what the Space answers is what was evaluated.
    """
    source = find_asset("spaces") / "router_demo"
    files: dict[str, bytes | Path] = {
        path.name: path for path in sorted(source.iterdir()) if path.suffix in (".py", ".css", ".js", ".json")
    }
    for name in ("reading", "words"):
        text = (Path(__file__).parents[1] / f"{name}.py").read_text(encoding="utf-8")
        # There is no package around them there.
        files[f"{name}.py"] = re.sub(r"^from hubtools\.(\w+) import", r"from \1 import", text, flags=re.M).encode()
    files["requirements.txt"] = "".join(f"{line}\n" for line in requirements).encode()
    return files


def list_static_files(models: Mapping[str, Mapping[str, object]], hub: str) -> dict[str, bytes | Path]:
    """Return the files of the static page but for its card, by their paths.

    Args:
        hub: the address that browsers fetch the models from.
    """
    shared, own = find_asset("spaces") / "router_demo", find_asset("spaces") / "static_page"
    page = (own / "index.html").read_text(encoding="utf-8")
    return {
        "index.html": page.replace("HUB", " ".join(list_hub_hosts(hub))).encode(),
        "controls.css": own / "controls.css",
        "style.css": shared / "style.css",
        "page.js": shared / "page.js",
        "static.js": own / "built" / "static.js",
        "worker.js": own / "built" / "worker.js",
        "models.json": _to_json({"hub": hub, "models": models}),
        WASM: lzma.decompress((own / "built" / f"{WASM}.xz").read_bytes()),
    }


def list_hub_hosts(endpoint: str) -> list[str]:
    """Return the hosts that a page fetches files of the Hub from: the Hub, and the stores that it sends browsers to."""
    own = re.match(r"https?://[^/]+", endpoint)
    stores = ["https://*.huggingface.co", "https://*.hf.co"] if endpoint == "https://huggingface.co" else []
    return [own[0] if own else endpoint, *stores]


def list_requirements(models: Mapping[str, Mapping[str, object]], form: SpaceForm) -> list[str]:
    """Return what an app that shows ``models`` installs, in the versions that answered here."""
    names: Iterable[str] = BY_GRAPHS if all("graph" in model for model in models.values()) else BY_WEIGHTS
    # The Hub installs gradio itself, by the card's sdk_version. A suffix such as +cpu names another build of the same.
    gradio = [f"gradio=={GRADIO}"] if form.sdk == "docker" else []
    return gradio + [f"{name}=={version(name).split('+')[0]}" for name in names]


def list_preloaded(models: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Return what the Hub downloads while it builds an app: a line a repo, with its files and its commit."""
    lines = []
    for model in models.values():
        graph = model.get("graph")
        source, weights = (graph, graph["file"]) if isinstance(graph, dict) else (model, "model.safetensors")
        lines.append(
            f"{source['repo']} config.json,{weights},tokenizer.json,tokenizer_config.json {source['revision']}"
        )
    return list(dict.fromkeys(lines))


def _check_graphs(
    released: Mapping[str, TaskSpec], folders: Mapping[str, TaskFolder], graphs: Mapping[str, ReleasedGraph]
) -> None:
    """Raise an error where a page could not answer a task in a browser."""
    from huggingface_hub import HfApi

    if missing := [name for name in released if name not in graphs]:
        raise MissingStage(
            f"The {missing[0]} model has no ONNX file that a browser could run",
            expected="onnx/model.onnx in its release, or in that of the multitask model",
            found="none" if len(missing) == 1 else f"none; nor have {', '.join(missing[1:])}",
            next=f"hubtools export {' '.join(missing)} --to onnx, then hubtools push-model of each",
        )
    for repo, name in {graph.repo: name for name, graph in graphs.items()}.items():
        if HfApi().model_info(repo).private:
            raise UsageError(
                f"{repo} is private, and the browsers of visitors have no token",
                expected="a model that everybody may read",
                next=f"make it public on the Hub, or hubtools push-space --sdk gradio for {name}",
            )
    for name, graph in graphs.items():
        model = folders[name].read_published("push-model").model
        assert model is not None, "it is released"
        steps = json.dumps(read_released(folders[name], model, "tokenizer.json").get("pre_tokenizer"))
        if '"ByteLevel"' not in steps or '"add_prefix_space": true' in steps:
            raise UsageError(
                f"The page cannot tell where the tokens of {graph.repo} stand in a text",
                expected="a byte-level tokenizer, as ModernBERT has",
                found=f"one that splits by {steps}",
                next="hubtools push-space --sdk gradio",
            )


def _render_readme(
    models: Mapping[str, Mapping[str, object]],
    released: Mapping[str, TaskSpec],
    folders: Mapping[str, TaskFolder],
    form: SpaceForm,
) -> bytes:
    """Return the README of a Space with these entries of models.json, checked by the rules of the Hub."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    architectures = set()
    for name in released:
        model = folders[name].read_published("push-model").model
        assert model is not None, "it is released"
        architectures.add(read_released(folders[name], model, "config.json", "finetune")["model_type"])
    # The template lies beside the Space's app, which is no part of the package.
    source = find_asset("spaces") / "router_demo"
    environment = Environment(loader=FileSystemLoader(source), undefined=StrictUndefined, autoescape=False)
    text = environment.get_template("README.md.jinja").render(
        sdk=form.sdk,
        hardware=ZERO_GPU if form.zero_gpu else "cpu-basic",
        sdk_version=GRADIO,
        python_version=PYTHON,
        license="apache-2.0",
        models=[{"task": name, **model} for name, model in models.items()],
        preloaded=list_preloaded(models),
        number=NUMBERS[len(models)] if len(models) < len(NUMBERS) else str(len(models)),
        datasets=sorted({str(model["dataset"]) for model in models.values() if "dataset" in model}),
        architectures=sorted(architectures),
        languages=name_languages(models),
        notes="; ".join(sorted({str(model["note"]) for model in models.values() if "note" in model})),
    )
    metadata, body = split_card(text)
    readme = join_card(metadata, f"{START}\n{body.strip()}\n{END}\n")
    lint_card(readme, "space")
    return readme.encode()


def _to_json(content: object) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
