"""The Hub's protocol, spoken by the real huggingface_hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_session

from hubtools.localhub import Hub

# huggingface_hub's own, at each LFS upload.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NewRepo = Callable[..., str]
LFS_CONTENT = bytes(range(256)) * 400


def add(api: HfApi, repo_id: str, path: str, content: bytes | str, **options: object) -> str:
    content = content.encode() if isinstance(content, str) else content
    return api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=repo_id, **options).oid  # type: ignore


def auth(hub: Hub) -> dict[str, str]:
    return {"Authorization": f"Bearer {hub.token}"}


# Who is asking


def test_whoami_names_the_one_user_and_refuses_a_wrong_token(api: HfApi, hub: Hub) -> None:
    me = api.whoami()
    assert me["name"] == "local"
    assert me["auth"]["accessToken"]["role"] == "write"
    with pytest.raises(HfHubHTTPError) as caught:
        HfApi(endpoint=hub.url, token="hf_wrong").whoami()
    assert caught.value.response.status_code == 401


def test_writing_needs_the_token_and_public_reading_does_not(api: HfApi, anonymous: HfApi, new_repo: NewRepo) -> None:
    repo_id = new_repo()
    assert anonymous.model_info(repo_id).id == repo_id
    for write in (
        lambda: anonymous.create_repo("local/anonymous"),
        lambda: add(anonymous, repo_id, "a.txt", "a"),
        lambda: anonymous.create_tag(repo_id, tag="v1"),
        lambda: anonymous.delete_repo(repo_id),
    ):
        with pytest.raises(HfHubHTTPError) as caught:
            write()
        assert caught.value.response.status_code == 401


def test_a_private_repo_is_hidden_from_who_has_no_token(api: HfApi, anonymous: HfApi, new_repo: NewRepo) -> None:
    repo_id = new_repo(private=True)
    assert api.model_info(repo_id).private
    with pytest.raises(RepositoryNotFoundError):
        anonymous.model_info(repo_id)
    with pytest.raises(RepositoryNotFoundError):
        anonymous.list_repo_files(repo_id)
    assert repo_id not in [model.id for model in anonymous.list_models()]
    assert repo_id in [model.id for model in api.list_models()]
    api.update_repo_settings(repo_id, private=False)
    assert not anonymous.model_info(repo_id).private


def test_a_gated_repo_shows_its_info_and_keeps_its_files(
    api: HfApi, anonymous: HfApi, new_repo: NewRepo, tmp_path: Path, hub: Hub
) -> None:
    repo_id = new_repo("dataset")
    add(api, repo_id, "a.txt", "a", repo_type="dataset")
    api.update_repo_settings(repo_id, gated="auto", repo_type="dataset")
    assert anonymous.dataset_info(repo_id).gated == "auto"
    options = {"repo_type": "dataset", "endpoint": hub.url, "cache_dir": tmp_path}
    with pytest.raises(GatedRepoError):
        hf_hub_download(repo_id, "a.txt", token=False, **options)
    assert Path(hf_hub_download(repo_id, "a.txt", token=hub.token, **options)).read_text() == "a"
    with pytest.raises(GatedRepoError):
        anonymous.auth_check(repo_id, repo_type="dataset")
    api.auth_check(repo_id, repo_type="dataset", write=True)


# Repos


def test_create_repo_is_idempotent_with_exist_ok(api: HfApi, hub: Hub) -> None:
    url = api.create_repo("twice", repo_type="dataset")
    assert (str(url), url.repo_id) == (f"{hub.url}/datasets/local/twice", "local/twice")
    assert api.create_repo("local/twice", repo_type="dataset", exist_ok=True) == url
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_repo("local/twice", repo_type="dataset")
    assert caught.value.response.status_code == 409
    assert api.list_repo_files("local/twice", repo_type="dataset") == [".gitattributes"]


def test_a_deleted_repo_is_gone_and_its_name_free(api: HfApi, new_repo: NewRepo) -> None:
    repo_id = new_repo()
    add(api, repo_id, "a.txt", "a")
    api.delete_repo(repo_id)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info(repo_id)
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo(repo_id)
    api.delete_repo(repo_id, missing_ok=True)
    api.create_repo(repo_id)
    assert api.list_repo_files(repo_id) == [".gitattributes"]


def test_a_moved_repo_keeps_its_history(api: HfApi, new_repo: NewRepo) -> None:
    repo_id, other = new_repo(), new_repo()
    add(api, repo_id, "a.txt", "a")
    api.move_repo(repo_id, "team/moved")
    assert len(api.list_repo_commits("team/moved")) == 2
    assert not api.repo_exists(repo_id)
    with pytest.raises(HfHubHTTPError) as caught:
        api.move_repo("team/moved", other)
    assert caught.value.response.status_code == 409


def test_info_follows_from_the_card_and_the_config(api: HfApi, new_repo: NewRepo) -> None:
    repo_id = new_repo()
    front = "license: mit\ntags: [router]\ndatasets: [local/d]\nbase_model: a/b\nlanguage: [en, no]"
    card = f"---\n{front}\n---\n# Hi\n"
    config = '{"model_type": "modernbert", "architectures": ["ModernBertForTokenClassification"]}'
    operations = [
        CommitOperationAdd("README.md", card.encode()),
        CommitOperationAdd("config.json", config.encode()),
    ]
    api.create_commit(repo_id, operations, commit_message="add")
    info = api.model_info(repo_id, files_metadata=True)
    assert (info.pipeline_tag, info.library_name) == ("token-classification", "transformers")
    assert {"router", "license:mit", "dataset:local/d", "base_model:a/b", "en", "no"} <= set(info.tags)
    assert info.card_data.license == "mit"
    sizes = {sibling.rfilename: sibling.size for sibling in info.siblings}
    assert sizes["config.json"] == len(config)
    assert api.model_info(repo_id, expand=["sha"]).siblings is None
    assert api.model_info(repo_id, revision="HEAD").sha == info.sha


def test_lists_are_searched_filtered_sorted_and_paged(api: HfApi, hub: Hub) -> None:
    for index in range(5):
        api.create_repo(f"lister/many-{index}")
    add(api, "lister/many-3", "README.md", "---\npipeline_tag: fill-mask\ntags: [wanted]\n---\n")
    ids = [f"lister/many-{index}" for index in range(5)]
    assert sorted(model.id for model in api.list_models(search="MANY", author="lister")) == ids
    assert [model.id for model in api.list_models(author="lister", filter="wanted")] == [ids[3]]
    assert [model.id for model in api.list_models(author="lister", pipeline_tag="fill-mask")] == [ids[3]]
    assert next(iter(api.list_models(author="lister", sort="last_modified"))).id == ids[3]
    assert len(list(api.list_models(author="lister", limit=2))) == 2
    assert not list(api.list_datasets(author="lister"))
    seen, url = [], f"{hub.url}/api/models?author=lister&limit=2"
    while url:
        page = get_session().get(url)
        seen += [model["id"] for model in page.json()]
        url = page.links.get("next", {}).get("url")
    assert sorted(seen) == ids


def test_the_users_own_repos_are_listed_with_their_size(api: HfApi, new_repo: NewRepo) -> None:
    if not hasattr(api, "list_user_repos"):
        pytest.skip("newer than this huggingface_hub")
    repo_id = new_repo("dataset", private=True)
    found = {repo.id: repo for repo in api.list_user_repos()}
    assert (found[repo_id].type, found[repo_id].visibility) == ("dataset", "private")
    assert found[repo_id].storage > 0


# Files


def test_a_small_file_is_regular_and_a_large_one_lfs(api: HfApi, new_repo: NewRepo, hub: Hub, tmp_path: Path) -> None:
    repo_id = new_repo()
    add(api, repo_id, "notes.txt", "hello")
    add(api, repo_id, "weights/model.safetensors", LFS_CONTENT)
    small, large = api.get_paths_info(repo_id, ["notes.txt", "weights/model.safetensors", "absent"])
    assert small.lfs is None
    assert small.blob_id == "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"  # git hash-object
    assert large.lfs.size == len(LFS_CONTENT)
    options = {"endpoint": hub.url, "token": hub.token, "cache_dir": tmp_path}
    assert Path(hf_hub_download(repo_id, "notes.txt", **options)).read_text() == "hello"
    path = Path(hf_hub_download(repo_id, "weights/model.safetensors", **options))
    assert path.read_bytes() == LFS_CONTENT
    assert path.resolve().name == large.lfs.sha256  # the cache names files by their ETag


def test_download_answers_range_and_if_none_match(api: HfApi, new_repo: NewRepo, hub: Hub) -> None:
    repo_id = new_repo("dataset")
    oid = add(api, repo_id, "data.bin", LFS_CONTENT, repo_type="dataset")
    url = f"{hub.url}/datasets/{repo_id}/resolve/main/data.bin"
    part = get_session().get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, LFS_CONTENT[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(LFS_CONTENT)}"
    head = get_session().head(url)
    assert head.headers["x-repo-commit"] == oid
    assert head.headers["x-linked-size"] == head.headers["content-length"] == str(len(LFS_CONTENT))
    assert head.headers["x-linked-etag"] == head.headers["etag"]
    assert head.headers["etag"].startswith('"')
    assert get_session().get(url, headers={"If-None-Match": head.headers["etag"]}).status_code == 304
    assert get_session().get(url, headers={"Range": "bytes=999999-"}).status_code == 416


def test_what_is_missing_is_told_apart(api: HfApi, new_repo: NewRepo, hub: Hub, tmp_path: Path) -> None:
    repo_id = new_repo()
    options = {"endpoint": hub.url, "token": hub.token, "cache_dir": tmp_path}
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(repo_id, "absent.txt", **options)
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download(repo_id, "absent.txt", revision="absent", **options)
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("local/absent", "absent.txt", **options)
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(repo_id, "absent"))
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("bert-base")


def test_tree_lists_one_level_or_all_with_the_last_change(api: HfApi, new_repo: NewRepo) -> None:
    repo_id = new_repo()
    first = add(api, repo_id, "a/one.txt", "1")
    second = add(api, repo_id, "a/b/two.txt", "2")
    assert [item.path for item in api.list_repo_tree(repo_id)] == ["a", ".gitattributes"]
    assert [item.path for item in api.list_repo_tree(repo_id, "a")] == ["a/b", "a/one.txt"]
    assert [item.path for item in api.list_repo_tree(repo_id, recursive=True)] == [
        "a", "a/b", ".gitattributes", "a/b/two.txt", "a/one.txt",
    ]  # fmt: skip
    last = {item.path: item.last_commit.oid for item in api.list_repo_tree(repo_id, "a", expand=True)}
    assert last == {"a/b": second, "a/one.txt": first}
    (info,) = api.get_paths_info(repo_id, ["a/one.txt"], expand=True)
    assert info.last_commit.oid == first


def test_snapshot_download_gets_everything_once(api: HfApi, new_repo: NewRepo, hub: Hub, tmp_path: Path) -> None:
    repo_id = new_repo()
    add(api, repo_id, "dir/ä b.txt", "umlaut and blank")
    add(api, repo_id, "model.bin", LFS_CONTENT)
    options = {"endpoint": hub.url, "token": hub.token, "cache_dir": tmp_path}
    folder = Path(snapshot_download(repo_id, **options))
    assert (folder / "dir" / "ä b.txt").read_text() == "umlaut and blank"
    assert (folder / "model.bin").read_bytes() == LFS_CONTENT
    assert folder.name == api.model_info(repo_id).sha
    assert snapshot_download(repo_id, **options) == str(folder)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", ".git/config", "a/.GIT/x", "a//b", "a\x00b", "."])
def test_a_path_out_of_the_repo_is_refused(api: HfApi, hub: Hub, path: str) -> None:
    api.create_repo("local/traversal", exist_ok=True)
    url = f"{hub.url}/api/models/local/traversal"
    for call, body in (
        ("preupload/main", {"files": [{"path": path, "size": 1, "sample": ""}]}),
        ("commit/main", None),
    ):
        lines = '{"key":"header","value":{"summary":"x"}}\n' + _line(path)
        sent = {"json": body} if body else {"content": lines}
        response = get_session().post(f"{url}/{call}", headers=auth(hub), **sent)
        assert response.status_code == 400, call
        assert "Invalid path" in response.json()["error"]
    assert api.list_repo_files("local/traversal") == [".gitattributes"]


@pytest.mark.parametrize("path", ["..%2F..%2F..%2Ftoken", "%2e%2e/%2e%2e/token", "..%2f..%2frepo.json", "%00"])
def test_reading_out_of_the_repo_finds_nothing(api: HfApi, hub: Hub, path: str) -> None:
    api.create_repo("local/traversal", exist_ok=True)
    for url in (f"local/traversal/resolve/main/{path}", f"api/models/local/traversal/tree/main/{path}"):
        response = get_session().get(f"{hub.url}/{url}")
        assert response.status_code == 404
        assert hub.token not in response.text


def _line(path: str) -> str:
    return json.dumps({"key": "file", "value": {"path": path, "content": "eA==", "encoding": "base64"}})


# Commits


def test_an_unchanged_folder_makes_no_commit(api: HfApi, new_repo: NewRepo, tmp_path: Path) -> None:
    repo_id = new_repo()
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# Card\n")
    (tmp_path / "model.safetensors").write_bytes(LFS_CONTENT)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "x.log").write_text("noise")
    (tmp_path / ".gitignore").write_text("*.log\n")
    first = api.upload_folder(repo_id=repo_id, folder_path=tmp_path)
    assert set(api.list_repo_files(repo_id)) == {
        ".gitattributes",
        ".gitignore",
        "README.md",
        "model.safetensors",
    }
    second = api.upload_folder(repo_id=repo_id, folder_path=tmp_path)
    assert first.oid == second.oid
    assert len(api.list_repo_commits(repo_id)) == 2


def test_the_server_makes_no_commit_of_nothing(api: HfApi, new_repo: NewRepo, hub: Hub) -> None:
    repo_id = new_repo()
    head = add(api, repo_id, "a.txt", "x")
    body = '{"key":"header","value":{"summary":"again"}}\n' + _line("a.txt")
    response = get_session().post(f"{hub.url}/api/models/{repo_id}/commit/main", headers=auth(hub), content=body)
    assert response.json()["commitOid"] == head


def test_a_stale_parent_is_412(api: HfApi, new_repo: NewRepo) -> None:
    repo_id = new_repo()
    stale = api.model_info(repo_id).sha
    head = add(api, repo_id, "a.txt", "a")
    with pytest.raises(HfHubHTTPError) as caught:
        add(api, repo_id, "b.txt", "b", parent_commit=stale)
    assert caught.value.response.status_code == 412
    add(api, repo_id, "b.txt", "b", parent_commit=head)


def test_one_commit_adds_replaces_and_deletes(api: HfApi, new_repo: NewRepo) -> None:
    repo_id = new_repo()
    files = {"old/a.safetensors": LFS_CONTENT, "old/b.txt": b"b", "keep.txt": b"k", "gone.txt": b"g"}
    api.create_commit(repo_id, [CommitOperationAdd(p, c) for p, c in files.items()], commit_message="first")
    operations = [
        CommitOperationDelete("old/", is_folder=True),
        CommitOperationAdd("old/c.txt", b"c"),
        CommitOperationDelete("gone.txt"),
        CommitOperationAdd("keep.txt", b"K"),
    ]
    done = api.create_commit(repo_id, operations, commit_message="title", commit_description="why")
    assert set(api.list_repo_files(repo_id)) == {".gitattributes", "keep.txt", "old/c.txt"}
    newest = api.list_repo_commits(repo_id)[0]
    assert (newest.commit_id, newest.title, newest.message, newest.authors) == (
        done.oid,
        "title",
        "why",
        ["local"],
    )
    assert done.commit_url.endswith(f"/{repo_id}/commit/{done.oid}")
    with pytest.raises(EntryNotFoundError):
        api.delete_file("gone.txt", repo_id)


def test_a_file_cannot_be_a_folder_too(api: HfApi, new_repo: NewRepo) -> None:
    repo_id = new_repo()
    add(api, repo_id, "a", "file")
    with pytest.raises(BadRequestError, match="both a file and a folder"):
        add(api, repo_id, "a/b.txt", "in it")


def test_a_commit_cannot_name_an_lfs_object_that_was_not_uploaded(new_repo: NewRepo, hub: Hub) -> None:
    repo_id = new_repo()
    line = '{"key":"lfsFile","value":{"path":"x.bin","algo":"sha256","oid":"%s","size":3}}' % ("a" * 64)
    body = '{"key":"header","value":{"summary":"x"}}\n' + line
    response = get_session().post(f"{hub.url}/api/models/{repo_id}/commit/main", headers=auth(hub), content=body)
    assert response.status_code == 400
    assert "was not uploaded" in response.json()["error"]


def test_an_lfs_upload_is_checked_against_its_hash_and_its_signature(new_repo: NewRepo, hub: Hub) -> None:
    repo_id = new_repo()
    wanted = {"operation": "upload", "objects": [{"oid": "b" * 64, "size": 3}]}
    url = f"{hub.url}/{repo_id}.git/info/lfs/objects/batch"
    (item,) = get_session().post(url, headers=auth(hub), json=wanted).json()["objects"]
    href = item["actions"]["upload"]["href"]
    assert get_session().put(href, content=b"abc").status_code == 400
    assert get_session().put(href.replace("size=3", "size=4"), content=b"abcd").status_code == 403
    assert get_session().put(href[:-1] + "!", content=b"abc").status_code == 403
    verify = get_session().post(item["actions"]["verify"]["href"], headers=auth(hub), json=wanted["objects"][0])
    assert verify.status_code == 404
    assert href not in (hub.data_dir / "server.log").read_text()
    assert "signature" not in (hub.data_dir / "server.log").read_text()


def test_a_card_the_hub_would_refuse_is_not_committed(api: HfApi, new_repo: NewRepo) -> None:
    repo_id = new_repo()
    with pytest.raises(ValueError, match='"license" must be one of'):
        add(api, repo_id, "README.md", "---\nlicense: my-own\n---\n")
    assert "README.md" not in api.list_repo_files(repo_id)


# References


def test_branches_and_tags_with_slashes(api: HfApi, new_repo: NewRepo, hub: Hub, tmp_path: Path) -> None:
    repo_id = new_repo()
    first = add(api, repo_id, "a.txt", "main")
    api.create_branch(repo_id, branch="feature/x")
    on_branch = add(api, repo_id, "a.txt", "branch", revision="feature/x")
    api.create_tag(repo_id, tag="v1/rc", revision="feature/x", tag_message="first")
    api.create_tag(repo_id, tag="v0", revision=first[:10])
    refs = api.list_repo_refs(repo_id)
    assert {ref.name: ref.target_commit for ref in refs.branches} == {"main": first, "feature/x": on_branch}
    assert {ref.name: ref.target_commit for ref in refs.tags} == {"v1/rc": on_branch, "v0": first}
    options = {"endpoint": hub.url, "token": hub.token, "cache_dir": tmp_path}
    texts = {rev: Path(hf_hub_download(repo_id, "a.txt", revision=rev, **options)).read_text() for rev in
             ("main", "feature/x", "v1/rc", "v0", first)}  # fmt: skip
    assert texts == {"main": "main", "feature/x": "branch", "v1/rc": "branch", "v0": "main", first: "main"}
    assert [commit.title for commit in api.list_repo_commits(repo_id, revision="feature/x")][-1] == "initial commit"
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_tag(repo_id, tag="v0")
    assert caught.value.response.status_code == 409
    api.create_tag(repo_id, tag="v0", exist_ok=True)
    api.create_branch(repo_id, branch="feature/x", exist_ok=True)
    api.delete_tag(repo_id, tag="v0")
    api.delete_branch(repo_id, branch="feature/x")
    assert [ref.name for ref in api.list_repo_refs(repo_id).branches] == ["main"]
    with pytest.raises(HfHubHTTPError):
        api.delete_branch(repo_id, branch="main")
    with pytest.raises(RevisionNotFoundError):
        api.delete_tag(repo_id, tag="v0")


def test_squashed_history_is_one_commit_with_the_same_files(api: HfApi, new_repo: NewRepo) -> None:
    repo_id = new_repo()
    add(api, repo_id, "a.txt", "a")
    api.super_squash_history(repo_id, commit_message="all of it")
    assert [commit.title for commit in api.list_repo_commits(repo_id)] == ["all of it"]
    assert "a.txt" in api.list_repo_files(repo_id)


def test_a_pull_request_leaves_main_alone_until_it_is_merged(api: HfApi, new_repo: NewRepo) -> None:
    repo_id = new_repo()
    add(api, repo_id, "a.txt", "a")
    done = api.create_commit(repo_id, [CommitOperationAdd("b.txt", b"b")], commit_message="add b", create_pr=True)
    assert (done.pr_num, done.pr_revision) == (1, "refs/pr/1")
    assert "b.txt" not in api.list_repo_files(repo_id)
    assert "b.txt" in api.list_repo_files(repo_id, revision="refs/pr/1")
    add(api, repo_id, "c.txt", "c", revision="refs/pr/1")
    api.comment_discussion(repo_id, 1, "looks right")
    detail = api.get_discussion_details(repo_id, 1)
    assert (detail.title, detail.status, detail.conflicting_files, detail.target_branch) == (
        "add b",
        "open",
        [],
        "main",
    )
    assert [ref.ref for ref in api.list_repo_refs(repo_id, include_pull_requests=True).pull_requests] == ["refs/pr/1"]
    api.merge_pull_request(repo_id, 1)
    assert {"a.txt", "b.txt", "c.txt"} <= set(api.list_repo_files(repo_id))
    assert api.get_discussion_details(repo_id, 1).status == "merged"


def test_a_pull_request_that_conflicts_is_not_merged(api: HfApi, new_repo: NewRepo) -> None:
    repo_id = new_repo("dataset")
    request = api.create_pull_request(repo_id, title="mine", description="text", repo_type="dataset")
    assert (request.num, request.status) == (1, "draft")
    add(api, repo_id, "a.txt", "theirs", revision="refs/pr/1", repo_type="dataset")
    add(api, repo_id, "a.txt", "ours", repo_type="dataset")
    assert api.get_discussion_details(repo_id, 1, repo_type="dataset").conflicting_files == ["a.txt"]
    with pytest.raises(HfHubHTTPError) as caught:
        api.merge_pull_request(repo_id, 1, repo_type="dataset")
    assert caught.value.response.status_code == 409
    api.change_discussion_status(repo_id, 1, "closed", repo_type="dataset")
    listed = list(api.get_repo_discussions(repo_id, repo_type="dataset", discussion_status="closed"))
    assert [item.num for item in listed] == [1]


# Spaces and collections


def test_a_space_keeps_its_settings_and_says_that_it_does_not_run(api: HfApi, hub: Hub) -> None:
    api.create_repo(
        "local/demo", repo_type="space", space_sdk="gradio", space_hardware="zero-a10g",
        space_secrets=[{"key": "FIRST", "value": "s3cret-1"}],
    )  # fmt: skip
    runtime = api.get_space_runtime("local/demo")
    assert (runtime.stage, runtime.hardware, runtime.requested_hardware) == ("PAUSED", None, "zero-a10g")
    assert "does not run" in runtime.raw["errorMessage"]
    assert api.request_space_hardware("local/demo", "cpu-upgrade", sleep_time=60).requested_hardware == "cpu-upgrade"
    assert api.set_space_sleep_time("local/demo", 120).sleep_time == 120
    assert api.restart_space("local/demo").stage == api.pause_space("local/demo").stage == "PAUSED"
    api.add_space_variable("local/demo", "MODEL", "local/m")
    api.add_space_secret("local/demo", "SECOND", "s3cret-2")
    assert api.get_space_variables("local/demo")["MODEL"].value == "local/m"
    assert set(api.get_space_secrets("local/demo")) == {"FIRST", "SECOND"}
    api.delete_space_secret("local/demo", "FIRST")
    assert set(api.get_space_secrets("local/demo")) == {"SECOND"}
    assert "does not run" in "".join(api.fetch_space_logs("local/demo"))
    stored = b"".join(path.read_bytes() for path in hub.data_dir.rglob("*") if path.is_file())
    assert b"s3cret" not in stored
    assert api.space_info("local/demo").sdk == "gradio"


def test_a_collection_gathers_repos(api: HfApi, anonymous: HfApi, new_repo: NewRepo) -> None:
    model, dataset = new_repo(), new_repo("dataset")
    shelf = api.create_collection("Router Classifiers", description="four of them")
    assert api.create_collection("Router Classifiers", exists_ok=True).slug == shelf.slug
    api.add_collection_item(shelf.slug, model, "model", note="the first")
    shelf = api.add_collection_item(shelf.slug, dataset, "dataset")
    assert [(item.item_id, item.note) for item in shelf.items] == [(model, "the first"), (dataset, None)]
    api.add_collection_item(shelf.slug, dataset, "dataset", exists_ok=True)
    with pytest.raises(HfHubHTTPError):
        api.add_collection_item(shelf.slug, "local/absent", "model")
    api.update_collection_item(shelf.slug, shelf.items[1].item_object_id, position=0)
    api.delete_collection_item(shelf.slug, shelf.items[0].item_object_id)
    assert [item.item_id for item in anonymous.get_collection(shelf.slug).items] == [dataset]
    assert api.update_collection_metadata(shelf.slug, title="Renamed", private=True).title == "Renamed"
    assert shelf.slug in [item.slug for item in api.list_collections(owner="local")]
    assert shelf.slug not in [item.slug for item in anonymous.list_collections(owner="local")]
    api.delete_collection(shelf.slug)
    api.delete_collection(shelf.slug, missing_ok=True)


# The server as such


def test_printed_urls_open_in_a_browser_and_hold_no_markup_of_others(api: HfApi, new_repo: NewRepo, hub: Hub) -> None:
    repo_id = new_repo()
    oid = add(api, repo_id, "README.md", "---\nlicense: mit\n---\n<script>alert(1)</script>")
    add(api, repo_id, "page.html", "<script>alert(2)</script>")
    for path in ("", repo_id, f"{repo_id}/tree/main", f"{repo_id}/commit/{oid}"):
        page = get_session().get(f"{hub.url}/{path}")
        assert page.status_code == 200, path
        assert page.headers["content-type"].startswith("text/html")
        assert "<script>" not in page.text
    assert repo_id in get_session().get(hub.url).text
    file = get_session().get(f"{hub.url}/{repo_id}/blob/main/page.html", follow_redirects=True)
    assert file.headers["content-type"].startswith("text/plain")
    assert "sandbox" in file.headers["content-security-policy"]


def test_another_host_name_is_refused(hub: Hub) -> None:
    response = get_session().get(f"{hub.url}/healthz", headers={"Host": "evil.example"})
    assert response.status_code == 400
    assert get_session().get(f"{hub.url}/healthz", headers={"Host": "localhost:1"}).json()["pid"] == hub.pid


def test_what_is_not_served_is_json(hub: Hub) -> None:
    for method, path in (("GET", "/api/agent-harnesses"), ("POST", "/api/telemetry/x"), ("PUT", "/healthz")):
        response = get_session().request(method, f"{hub.url}{path}")
        assert response.status_code in (404, 405)
        assert response.json()["error"]
    bad = get_session().post(f"{hub.url}/api/repos/create", headers=auth(hub), content=b"{")
    assert (bad.status_code, bad.json()["error"]) == (400, "The body is not valid JSON")
