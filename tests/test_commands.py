"""The command line: help, flags, dry runs, JSON, configuration, and what pushes do to a repo."""

from __future__ import annotations

import json
import re
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from as_user import REPOSITORY, Command, commits, own_rows
from huggingface_hub import CommitOperationAdd, HfApi

from hubtools.localhub import Hub, start, stop
from hubtools.tasks import NANO, TASKS

COMMANDS = [
    *("", "check", "curate", "push-dataset", "finetune", "evaluate", "robustness", "compare"),
    *("model-card", "push-model", "verify", "export", "init-task", "search", "cross-validate", "repeat"),
    *("label-errors", "push-space", "push-collection", "rollback", "demo"),
    *("run", "hub", "hub serve", "hub start", "hub stop", "hub status", "hub env"),
]
HEAVY = {"torch", "datasets", "transformers", "huggingface_hub", "gradio", "numpy", "pyarrow", "sklearn", "starlette",
         "cleanlab", "optuna"}  # fmt: skip


def files_under(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "command",
    [
        name if name in ("", "finetune", "hub env") else pytest.param(name, marks=pytest.mark.exhaustive)
        for name in COMMANDS
    ],
)
def test_help_explains_every_option_and_loads_nothing_heavy(hubtools: Command, command: str) -> None:
    shown = hubtools.run(sys.executable, "-X", "importtime", hubtools.path, *command.split(), "--help")
    loaded = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in shown.stderr.splitlines() if "|" in line}
    assert "typer" in loaded
    assert not loaded & HEAVY
    assert shown.stdout.lstrip().startswith(f"Usage: {' '.join(['hubtools', *command.split()])} ")
    blocks = re.split(r"\n(?=  \S)", shown.stdout.split("Options:\n", 1)[1].split("\n\n")[0])
    for block in blocks:
        option = block.strip()
        assert option.startswith("-")
        help_text = re.split(r"\s{2,}", option, maxsplit=1)[1:]
        assert help_text, f"{option!r} is not explained"
        assert len(help_text[0]) > 10


def test_the_list_of_commands_is_whole(hubtools: Command) -> None:
    def listed(*group: str) -> list[str]:
        shown = hubtools(*group, "--help").stdout.split("Commands:\n")[1]
        return [" ".join([*group, name]) for name in re.findall(r"^  (\S+)  ", shown, re.MULTILINE)]

    assert sorted(COMMANDS) == sorted(["", *listed(), *listed("hub")])


def test_version_is_that_of_the_package(hubtools: Command) -> None:
    assert hubtools("--version").stdout == f"hubtools {version('hubtools')}\n"


@pytest.mark.exhaustive
def test_a_task_of_one_s_own_is_named_by_its_file(hubtools: Command, hub: Hub, tmp_path: Path) -> None:
    task, at = tmp_path / "abuse.yaml", ("--hub", "local", "--hub-dir", hub.data_dir, "--work-dir", tmp_path / "work")
    written = hubtools(
        "init-task", "abuse", "--labels", "benign, jailbreak", "--positive", "jailbreak", "--output", task
    )
    assert written.stdout == f"{task}\n"
    rows = own_rows(tmp_path / "rows.csv")
    curated = hubtools("curate", "--task-file", task, "--source", rows, "--json", *at)
    assert json.loads(curated.stdout)["abuse"]["labels"] == ["benign", "jailbreak"]
    for name in ((), ("abuse",)):
        command = hubtools("finetune", *name, "--task-file", task, *at, "--dry-run", "--max_steps", 3).stderr
        assert re.search(rf"--task abuse .* --task_file {task} .*--max_steps 3\n", command)
    done = hubtools("curate", "pii", "--task-file", task, *at, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "describes the task 'abuse'" in done.stderr
    done = hubtools("curate", *at, check=False)
    assert done.returncode == 2
    assert "or --task-file FILE" in done.stderr


def test_a_dry_run_of_push_dataset_writes_nothing(
    hubtools: Command, api: HfApi, flags: tuple[object, ...], tmp_path: Path
) -> None:
    said = hubtools("push-dataset", "intent", "--dataset-name", "dry", "--dry-run", *flags).stderr
    assert "intent: would create the public dataset repo local/dry\n" in said
    assert "intent: would add data/train-00000-of-00001.parquet (" in said
    assert not (tmp_path / "work").exists()
    assert not api.repo_exists("local/dry", repo_type="dataset")


def test_a_dry_run_of_the_whole_run_writes_nothing(
    hubtools: Command, api: HfApi, flags: tuple[object, ...], tmp_path: Path
) -> None:
    before = [repo.sha for repo in api.list_datasets(author="local")]
    done = hubtools("run", "jailbreak", "--dry-run", "--json", *flags)
    assert json.loads(done.stdout)["results"] == {}
    assert "would then fine-tune" in done.stderr
    assert not (tmp_path / "work").exists()
    assert [repo.sha for repo in api.list_datasets(author="local")] == before


def test_a_run_of_one_task_ends_with_a_space_that_shows_it_and_a_collection_that_holds_all_three(
    hubtools: Command, hub: Hub, api: HfApi, released: Path, tmp_path: Path
) -> None:
    work = shutil.copytree(released, tmp_path / "work")
    done = hubtools(
        "run", "intent", "--hub", "local", "--hub-dir", hub.data_dir, "--work-dir", work, "--max_steps", 3
    )  # fmt: skip
    assert f"Space: {hub.url}/spaces/local/router-classifiers" in done.stdout
    models = json.loads(
        Path(api.hf_hub_download("local/router-classifiers", "models.json", repo_type="space")).read_text()
    )
    pushed = json.loads((work / "intent" / "published.json").read_text())
    assert {name: entry["repo"] for name, entry in models["models"].items()} == {"intent": pushed["model"]["repo"]}
    assert models["models"]["intent"]["dataset"] == pushed["dataset"]["repo"]
    slug = json.loads((work / "run.json").read_text())["results"]["collection"]["slug"]
    assert f"\nCollection: {hub.url}/collections/{slug}\n" in done.stdout
    gathered = {(item.item_type, item.item_id) for item in api.get_collection(slug).items}
    assert gathered >= {(kind, pushed[kind]["repo"]) for kind in ("dataset", "model")}
    assert ("space", "local/router-classifiers") in gathered


def test_a_run_may_end_in_pull_requests_which_release_nothing(
    hubtools: Command, released: Path, tmp_path: Path
) -> None:
    hub = start(tmp_path / "hub")  # with no repo of another test
    try:
        api, work = HfApi(hub.url, hub.token), shutil.copytree(released, tmp_path / "work")
        at = ("--hub", "local", "--hub-dir", hub.data_dir, "--work-dir", work)
        command = ("run", "intent", "--create-pr", "--max_steps", 3, *at)
        refused = hubtools(*command, check=False)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith("Error: There is no dataset local/router-intent to open a pull request on.")

        repos = {
            "dataset": "local/router-intent",
            "model": f"local/{TASKS['intent'].model_name.format(base=NANO.short_name)}",
        }
        for kind, repo in repos.items():
            api.create_repo(repo, repo_type=kind)
        heads = {kind: commits(api, repo, kind) for kind, repo in repos.items()}
        shown = (work / "intent" / "published.json").read_text()
        done = hubtools(*command, "--json")
        results = json.loads(done.stdout)["results"]
        assert [*results] == ["intent"], "no Space and no collection"
        addresses = {kind: api.get_discussion_details(repo, 1, repo_type=kind).url for kind, repo in repos.items()}
        assert {kind: results["intent"][kind] for kind in repos} == addresses
        assert results["intent"]["pull_requests"] == [*addresses.values()]
        assert all(f"{repos[kind]}: a pull request opened, {url}\n" in done.stderr for kind, url in addresses.items())
        assert "after the merge, the same command without --create-pr" in done.stderr
        assert {kind: commits(api, repo, kind) for kind, repo in repos.items()} == heads
        assert [api.list_repo_refs(repo, repo_type=kind).tags for kind, repo in repos.items()] == [[], []]
        assert [*api.list_spaces(author="local"), *api.list_collections()] == []
        now = json.loads((work / "intent" / "published.json").read_text())
        assert now["model"] == json.loads(shown)["model"], "what is proposed is not shown as released"
    finally:
        stop(tmp_path / "hub")


def test_a_dry_run_after_a_release_says_that_nothing_would_change_and_writes_nothing(
    hubtools: Command, hub: Hub, api: HfApi, released: Path
) -> None:
    before, head = files_under(released), commits(api, "local/small-model", "model")
    flags = ("--hub", "local", "--hub-dir", hub.data_dir, "--work-dir", released, "--dry-run")
    said = hubtools("push-dataset", "intent", "--dataset-name", "small-dataset", *flags).stderr
    assert said == "intent: nothing would change\n"
    assert hubtools("push-model", "intent", "--model-name", "small-model", *flags).stderr == said
    command = hubtools("finetune", "intent", "--seed", 1, *flags).stderr
    assert re.match(r"would run: \S+ -m accelerate\.commands\.launch .* --task intent", command)
    assert files_under(released) == before
    assert commits(api, "local/small-model", "model") == head


def test_a_model_is_not_scored_or_described_by_a_dataset_that_it_was_not_trained_on(
    hubtools: Command, hub: Hub, released: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    shutil.copytree(released, work)
    at = ("--hub", "local", "--hub-dir", hub.data_dir, "--work-dir", work)
    train = work / "intent" / "dataset" / "data" / "train-00000-of-00001.parquet"
    rows = pq.read_table(train)
    pq.write_table(rows.slice(1), train)
    for command in ("evaluate", "model-card", "push-model"):
        done = hubtools(command, "intent", *at, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert "was trained on other rows" in done.stderr
        assert "hubtools finetune intent" in done.stderr
    pq.write_table(rows, train)
    hubtools("evaluate", "intent", *at)


def test_json_is_all_of_stdout(hubtools: Command, hub: Hub, released: Path, flags: tuple[object, ...]) -> None:
    at = ("--hub", "local", "--hub-dir", hub.data_dir)
    work = ("--work-dir", released)

    def printed(*arguments: object) -> Any:
        return json.loads(hubtools(*arguments, "--json").stdout)

    found = {finding["what"]: finding["found"] for finding in printed("check", "intent", *flags)}
    assert found.keys() >= {"token", "base model", "disk"}
    assert re.search("is unknown: nothing like it|^about ", found["training of intent"])
    assert printed("curate", "category", *flags)["category"]["splits"]["train"]["rows"] > 500
    pushed = printed("push-dataset", "intent", "--dataset-name", "small-dataset", *at, *work)
    assert (pushed["intent"]["tag"], pushed["intent"]["changed"]) == ("v1", False)
    assert printed("finetune", "intent", *at, *work, "--max_steps", 3)["intent"]["steps"] == 3
    assert 0 <= printed("evaluate", "intent", *at, *work)["intent"]["primary"]["value"] <= 1
    card = printed("model-card", "intent", *at, *work)["intent"]
    assert Path(card).is_file()
    assert printed("hub", "status", "--hub-dir", hub.data_dir) == {
        "running": True, "url": hub.url, "data_dir": str(hub.data_dir),
    }  # fmt: skip


def test_check_tells_everything_that_is_missing_and_fails(hubtools: Command) -> None:
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9"}  # nobody listens on the port of discarded data
    done = hubtools("check", "jailbreak", "--json", env=nowhere, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    findings = {finding["what"]: finding["ok"] for finding in json.loads(done.stdout)}
    assert findings | {"disk": None} == {
        "token": False, "source of jailbreak": False, "base model": False, "disk": None, "device": True,
    }  # fmt: skip


def test_a_configuration_holds_what_the_flags_hold_and_flags_win(hubtools: Command, hub: Hub, tmp_path: Path) -> None:
    config = tmp_path / "router.yaml"
    config.write_text(
        f"hub: local\nhub-dir: {hub.data_dir}\nwork_dir: {tmp_path / 'of-config'}\nseed: 7\n"
        "label-set: category=seed10\n"
    )
    facts = json.loads(hubtools("--config", config, "curate", "category", "--json").stdout)["category"]
    assert (facts["seed"], facts["label_set"]) == (7, "seed10")
    assert (tmp_path / "of-config" / "category" / "dataset").is_dir()
    flags = ("--seed", 8, "--work-dir", tmp_path / "of-flag")
    facts = json.loads(hubtools("--config", config, "curate", "category", "--json", *flags).stdout)["category"]
    assert (facts["seed"], facts["label_set"]) == (8, "seed10")
    assert hubtools("--config", config, "hub", "status").stdout == f"{hub.url}\n"


def test_an_unknown_key_of_a_configuration_is_an_error(hubtools: Command, tmp_path: Path) -> None:
    config = tmp_path / "router.yaml"
    config.write_text("hub: local\nsead: 7\n")
    done = hubtools("--config", config, "curate", "category", check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.match(
        r"Error: Configuration .*router\.yaml has unknown keys: sead\.\n  expected: .*\bseed\b", done.stderr
    )


def test_label_set_seed10_gives_ten_classes_in_their_order(hubtools: Command, flags: tuple[object, ...]) -> None:
    facts = json.loads(hubtools("curate", "category", "--label-set", "seed10", "--json", *flags).stdout)["category"]
    assert facts["labels"] == [
        *("mathematics", "physics", "chemistry", "biology", "computer_science", "engineering", "economics_business"),
        *("health_psychology", "law", "history_philosophy"),
    ]


def test_label_set_presidio17_needs_rows_of_all_17_types(
    hubtools: Command, flags: tuple[object, ...], tmp_path: Path
) -> None:
    done = hubtools("curate", "pii", "--label-set", "presidio17", *flags, check=False)
    assert done.returncode == 1
    assert re.match(
        r"Error: The train split of pii lacks .*IBAN_CODE.*\n  expected: rows of every class: ", done.stderr
    )
    assert not (tmp_path / "work" / "pii" / "facts.json").exists()


@pytest.mark.real
@pytest.mark.exhaustive
def test_label_set_presidio17_gives_35_tags_from_the_public_rows(
    hubtools: Command, flags: tuple[object, ...], tmp_path: Path
) -> None:
    mirror = REPOSITORY.parent / "shared" / "raw"
    if not mirror.is_dir():
        pytest.skip(f"needs the public data at {mirror}")
    # A Hub of its own: mirrors stay with a Hub, and the other tests work on the starter corpora.
    flags = (*flags, "--hub-dir", tmp_path / "hub", "--mirror", mirror)
    try:
        facts = json.loads(hubtools("curate", "pii", "--label-set", "presidio17", "--json", *flags).stdout)["pii"]
    finally:
        stop(tmp_path / "hub")
    assert len(facts["labels"]) == 17
    assert facts["sources"][0]["id"] == "microsoft/presidio-research"
    schema = pq.read_schema(tmp_path / "work" / "pii" / "dataset" / "data" / "train-00000-of-00001.parquet")
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert len(features["ner_tags"]["feature"]["names"]) == 35


def test_a_label_set_that_is_asked_for_is_what_is_pushed(
    hubtools: Command, api: HfApi, flags: tuple[object, ...]
) -> None:
    hubtools("curate", "category", *flags)
    hubtools("push-dataset", "category", "--label-set", "seed10", "--dataset-name", "seed10", *flags)
    [card] = [path for path in api.list_repo_files("local/seed10", repo_type="dataset") if path == "README.md"]
    front = yaml.safe_load(
        Path(api.hf_hub_download("local/seed10", card, repo_type="dataset")).read_text().split("---\n")[1]
    )
    [names] = [f["dtype"]["class_label"]["names"] for f in front["dataset_info"]["features"] if f["name"] == "label"]
    assert len(names) == 10
    assert "economics_business" in names.values()


def test_a_file_of_one_s_own_takes_the_place_of_the_source(
    hubtools: Command, flags: tuple[object, ...], tmp_path: Path
) -> None:
    path = own_rows(tmp_path / "mine.csv", "prompt", "verdict")
    columns = ("--text-column", "prompt", "--label-column", "verdict")
    facts = json.loads(hubtools("curate", "jailbreak", "--source", path, *columns, "--json", *flags).stdout)[
        "jailbreak"
    ]
    assert facts["counts"]["read"] == 60
    assert [source["id"] for source in facts["sources"]] == ["mine.csv"]
    owned = ("--source", path, *columns, "--license", "MIT")
    again = hubtools("push-dataset", "jailbreak", "--dataset-name", "mine", *owned, *flags)
    assert again.stdout.endswith("/datasets/local/mine\n")
    facts["sources"][0]["license"], facts["license"] = "mit", {"id": "mit", "rule": "every source is under mit"}
    facts["fingerprint"] = json.loads((tmp_path / "work" / "jailbreak" / "facts.json").read_text())["fingerprint"]
    assert json.loads((tmp_path / "work" / "jailbreak" / "facts.json").read_text()) == facts


@pytest.mark.exhaustive
def test_pushing_a_dataset_twice_makes_one_commit(hubtools: Command, api: HfApi, flags: tuple[object, ...]) -> None:
    hubtools("push-dataset", "pii", "--dataset-name", "twice", *flags)
    before = commits(api, "local/twice", "dataset")
    assert "unchanged at v1" in hubtools("push-dataset", "pii", "--dataset-name", "twice", *flags).stderr
    assert commits(api, "local/twice", "dataset") == before
    assert len(before) == 2  # the Hub's own first commit, and ours


def edited(api: HfApi, repo: str, kind: str) -> str:
    """A person adds a note and a key to a card, on the Hub."""
    card = Path(api.hf_hub_download(repo, "README.md", repo_type=kind)).read_text()
    _, front, body = card.split("---\n", 2)
    text = f"---\n{front}extra_gated_prompt: Be kind.\n---\n{body}\nA note by a person.\n"
    done = api.create_commit(
        repo, [CommitOperationAdd("README.md", text.encode())], repo_type=kind, commit_message="a note"
    )
    return done.oid


@pytest.mark.parametrize(
    ("kind", "repo", "changed", "key"),
    [("dataset", "small-dataset", "facts.json", "seed"), ("model", "small-model", "training.json", "steps")],
)
def test_what_a_person_wrote_on_a_card_survives_the_next_push(
    hubtools: Command, hub: Hub, api: HfApi, released: Path, kind: str, repo: str, changed: str, key: str
) -> None:
    work = ("--hub", "local", "--hub-dir", hub.data_dir, "--work-dir", released)
    noted = edited(api, f"local/{repo}", kind)
    path = released / "intent" / changed
    before = path.read_text()
    path.write_text(json.dumps(json.loads(before) | {key: 4711}))
    try:
        hubtools(f"push-{kind}", "intent", f"--{kind}-name", repo, *work)
    finally:
        path.write_text(before)
    assert commits(api, f"local/{repo}", kind)[1] == noted  # ours stands on the person's
    files = [Path(api.hf_hub_download(f"local/{repo}", file, repo_type=kind)) for file in ("README.md", changed)]
    card, pushed = (file.read_text() for file in files)
    assert json.loads(pushed)[key] == 4711
    assert "A note by a person." in card
    assert yaml.safe_load(card.split("---\n")[1])["extra_gated_prompt"] == "Be kind."


def test_create_pr_opens_a_pull_request_and_leaves_main_alone(
    hubtools: Command, api: HfApi, flags: tuple[object, ...]
) -> None:
    api.create_repo("local/by-pr", repo_type="dataset")
    before = commits(api, "local/by-pr", "dataset")
    done = hubtools("push-dataset", "intent", "--dataset-name", "by-pr", "--create-pr", *flags)
    assert done.stdout.endswith("/datasets/local/by-pr/discussions/1\n")
    assert commits(api, "local/by-pr", "dataset") == before
    [request] = api.get_repo_discussions("local/by-pr", repo_type="dataset")
    assert (request.is_pull_request, request.status) == (True, "open")
    assert "facts.json" in api.list_repo_files("local/by-pr", repo_type="dataset", revision="refs/pr/1")


def test_private_makes_a_private_repo(hubtools: Command, api: HfApi, flags: tuple[object, ...]) -> None:
    hubtools("push-dataset", "intent", "--dataset-name", "hidden", "--private", *flags)
    assert api.dataset_info("local/hidden").private is True


def test_a_namespace_of_somebody_else_is_refused_and_named(
    hubtools: Command, flags: tuple[object, ...], tmp_path: Path
) -> None:
    done = hubtools("push-dataset", "intent", "--namespace", "someone", *flags, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"Error: .*'someone'.*\n  expected: local\n  found: .*\n  next: .*--namespace.*\n", done.stderr)
    assert not (tmp_path / "work").exists()


def test_flags_of_nobody_stop_a_run_before_it_does_anything(
    hubtools: Command, flags: tuple[object, ...], tmp_path: Path
) -> None:
    done = hubtools("run", "intent", *flags, "--dryrun", check=False)
    assert done.returncode == 2
    assert re.match(r"Error: .*\n  expected: .*\n  found:    --dryrun\n  next: ", done.stderr)
    assert not (tmp_path / "work").exists()


@pytest.fixture
def launched(hubtools: Command, hub: Hub, flags: tuple[object, ...], tmp_path: Path) -> str:
    """What ``accelerate launch`` prints for the line of the documentation."""
    hubtools("curate", "intent", *flags)
    command = ["launch", "hubtools/finetune.py", "--task", "intent", "--work-dir", tmp_path / "work", "--max_steps", 3]
    accelerate = Path(sys.executable).with_name("accelerate")
    done = hubtools.run(accelerate, *command, env=hub.environ, cwd=REPOSITORY)
    return done.stdout + done.stderr


def test_accelerate_launches_the_bare_file_from_the_repository(launched: str, tmp_path: Path) -> None:
    folder = tmp_path / "work" / "intent"
    assert json.loads((folder / "training.json").read_text())["steps"] == 3
    assert (folder / "model" / "model.safetensors").is_file()
    assert "[intent] size: " in launched
    assert "Traceback" not in launched
