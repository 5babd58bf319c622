"""One collection of what a work folder published, kept in step: its repos, their order and notes, links both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

from hubtools.publishing.changes import read_card
from hubtools.publishing.links import LINKS_START, Link, place_links, render_links
from hubtools.publishing.published_files import read_released
from hubtools.records.release import CollectionItem, Published, PublishedCollection
from hubtools.retries import call_with_retries
from hubtools.task import TaskSpec
from hubtools.tasks import MULTI, TASKS
from hubtools.workdir import TaskFolder

if TYPE_CHECKING:
    from huggingface_hub import Collection, HfApi

    Kind = Literal["dataset", "model", "space"]

TITLE = "Router classifiers"
# The Hub takes 150 characters at most, and 500 for a note.
DESCRIPTION = "Classifiers that tell a semantic router what a prompt is, the datasets they are trained on, and a demo."
MOST_OF_A_NOTE = 500

Key = tuple[str, str]  # kind and repo


@dataclass(frozen=True)
class Member:
    """A repo that belongs into the collection, and what its card links to besides."""

    item: CollectionItem
    links: tuple[Link, ...]

    @property
    def key(self) -> Key:
        """Kind and repo, by which it is known in a collection."""
        return self.item.kind, self.item.repo


@dataclass(frozen=True)
class CollectionOptions:
    """How a collection is pushed.

    Attributes:
        title: of the collection; None for the one that it has, or the usual one.
        private: one that is new becomes private.
    """

    title: str | None = None
    private: bool = False


@dataclass(frozen=True)
class CollectionChange:
    """What a push would do to a collection and to the cards of its repos, which are named ``kind owner/name``.

    Attributes:
        create: whether the collection would be made.
        notes: repos whose note would change. cards: those whose card would.
    """

    title: str
    create: bool = False
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reorder: bool = False
    cards: tuple[str, ...] = ()

    def describe(self) -> list[str]:
        """Return a line for each thing that would change."""
        lines = [f"would create the collection {self.title!r}"] if self.create else []
        lines += [f"would add {name}" for name in self.add] + [f"would remove {name}" for name in self.remove]
        lines += [f"would change the note of {name}" for name in self.notes]
        lines += ["would bring its items into order"] if self.reorder else []
        lines += [f"would change the links on the card of {name}" for name in self.cards]
        return lines or ["nothing would change"]


def list_members(tasks: Sequence[TaskSpec], folders: Mapping[str, TaskFolder], space: str | None) -> list[Member]:
    """Return the repos that were published for ``tasks``: datasets, then models, then the Space.

    Args:
        folders: by the name of the task; that of ``multi`` among them where its model is to be there.
        space: its repo; None where there is none.
    """
    published = {
        name: folder.read_published("push-dataset") for name, folder in folders.items() if folder.published.exists()
    }
    datasets = {n: of.dataset.repo for n, of in published.items() if of.dataset}
    models = {n: of.model for n, of in published.items() if of.model}
    spaces = Link("Demo", "space", (space,) if space else ())
    members = []
    for task in tasks:
        if task.name in datasets:
            # The model of all four was trained on their datasets as well.
            trained = [task.name, *([MULTI] if task.name in TASKS else [])]
            known = Link("Models trained on it", "model", tuple(models[n].repo for n in trained if n in models))
            note = f"{task.title}: training, validation and test rows."
            members.append(_make_member("dataset", datasets[task.name], note, (known, spaces)))
    for task in tasks:
        if task.name in models:
            used = Link("Dataset it was trained on", "dataset", tuple(r for n, r in datasets.items() if n == task.name))
            note = _describe_model(task, folders[task.name], models[task.name])
            members.append(_make_member("model", models[task.name].repo, note, (used, spaces)))
    if MULTI in models:
        used = Link("Datasets it was trained on", "dataset", tuple(datasets[n] for n in TASKS if n in datasets))
        note = f"The four questions in one pass, {models[MULTI].tag}.".replace(", .", ".")
        members.append(_make_member("model", models[MULTI].repo, note, (used,)))
    if space:
        members.append(_make_member("space", space, "Ask the models, in the browser.", ()))
    return members


def _make_member(kind: str, repo: str, note: str, links: tuple[Link, ...]) -> Member:
    return Member(CollectionItem(kind=kind, repo=repo, note=note[:MOST_OF_A_NOTE]), links)


def _describe_model(task: TaskSpec, folder: TaskFolder, model: Published) -> str:
    """Return the note of a model: its score and its tag, which a reader compares without opening the card."""
    primary = read_released(folder, model, "metrics.json").get("primary") or {}
    score = f", {primary['title']} {primary['value']:.3f} on its test split" if "value" in primary else ""
    # A pull request has no tag yet.
    return f"{task.title}{score}{f' ({model.tag})' if model.tag else ''}."


def push_collection(
    api: HfApi,
    namespace: str,
    members: Sequence[Member],
    known: PublishedCollection | None,
    options: CollectionOptions,
    keep: Callable[[PublishedCollection], None],
) -> PublishedCollection:
    """Bring the collection to ``members``, and put links into their cards; do nothing where nothing differs.

    What a person added stays where it is; so does a note that a person wrote. Of the items that were added before and
    are no members any more, collection and card are cleared.

    Args:
        known: what was recorded at the last push from this work folder.
        keep: records what is about to be added, so that a push that is killed does not lose what it added.
    """
    shelf = _find_collection(api, namespace, known, options)
    created = shelf is None
    if shelf is None:
        shelf = call_with_retries(
            lambda: api.create_collection(
                options.title or (known.title if known else TITLE),
                namespace=namespace,
                description=DESCRIPTION,
                private=options.private,
                exists_ok=True,
            )
        )
    slug = shelf.slug
    before = _list_added(shelf, known)
    plan = _compare(shelf, members, before)
    added = {*before, *(member.key for member in plan.add)}
    done = PublishedCollection(slug=slug, title=shelf.title, url=shelf.url, changed=True, items=())
    keep(replace(done, items=(*before.values(), *(member.item for member in plan.add))))
    # The card first: a repo that is no item any more would not be known as ours by the next push.
    for key in plan.remove:
        _write_links(api, key, "")
        _remove_item(api, shelf, key)
    for member in plan.add:
        _add_item(api, slug, member)
    for member in plan.renote:
        _write_note(api, shelf, member)
    moved = _sort_items(api, slug, [member.key for member in members if member.key in added])
    cards = [_write_links(api, m.key, render_links(m.links, shelf.title, slug)) for m in members]
    changed = any((created, plan.add, plan.remove, plan.renote, moved, *cards))
    # The note that the Hub has: one of a person's is none that we may change later.
    items = tuple(
        replace(member.item, note=before[member.key].note if member in plan.left else member.item.note)
        for member in members
        if member.key in added
    )
    done = replace(done, changed=changed, items=items)
    keep(done)
    return done


def compare_collection(
    api: HfApi,
    namespace: str,
    members: Sequence[Member],
    known: PublishedCollection | None,
    options: CollectionOptions,
) -> CollectionChange:
    """Return what :func:`push_collection` with the same arguments would change."""
    shelf = _find_collection(api, namespace, known, options)
    if shelf is None:
        title = options.title or (known.title if known else TITLE)
        named = tuple(_name(member.key) for member in members)
        return CollectionChange(title, create=True, add=named, cards=named)
    before = _list_added(shelf, known)
    plan = _compare(shelf, members, before)
    ours = [_key(item) for item in shelf.items if _key(item) in before and _key(item) not in plan.remove]
    after = [*ours, *(member.key for member in plan.add)]
    cards = [m.key for m in members if _differs(api, m.key, render_links(m.links, shelf.title, shelf.slug))]
    cards += [key for key in plan.remove if _differs(api, key, "")]
    return CollectionChange(
        shelf.title,
        add=tuple(_name(member.key) for member in plan.add),
        remove=tuple(_name(key) for key in plan.remove),
        notes=tuple(_name(member.key) for member in plan.renote),
        reorder=after != [member.key for member in members if member.key in after],
        cards=tuple(map(_name, cards)),
    )


@dataclass(frozen=True)
class _Plan:
    """What has to be done to the items of a collection; ``left`` are members whose note a person wrote."""

    add: list[Member]
    remove: list[Key]
    renote: list[Member]
    left: list[Member]


def _compare(shelf: Collection, members: Iterable[Member], before: Mapping[Key, CollectionItem]) -> _Plan:
    there = {_key(item): item for item in shelf.items}
    plan = _Plan([], [], [], [])
    for member in members:
        if member.key not in there:
            plan.add.append(member)
        elif member.key in before and (there[member.key].note or "") != member.item.note:
            # As it was written by us, or else by a person.
            theirs = (there[member.key].note or "") != before[member.key].note
            (plan.left if theirs else plan.renote).append(member)
    wanted = {member.key for member in members}
    plan.remove.extend(key for key in before if key not in wanted)
    return plan


def _find_collection(
    api: HfApi, namespace: str, known: PublishedCollection | None, options: CollectionOptions
) -> Collection | None:
    """Return the collection that was pushed before, or the one with the title; None where there is none."""
    from huggingface_hub.errors import HfHubHTTPError

    title = options.title or (known.title if known else TITLE)
    if known and known.slug.startswith(f"{namespace}/") and options.title in (None, known.title):
        try:
            return call_with_retries(lambda: api.get_collection(known.slug))
        except HfHubHTTPError as error:
            if error.response.status_code != 404:
                raise
            # Somebody deleted it, or this is another Hub.
    # A listing shows the first items of each alone.
    slugs = call_with_retries(lambda: [c.slug for c in api.list_collections(owner=namespace) if c.title == title])
    return call_with_retries(lambda: api.get_collection(slugs[0])) if slugs else None


def _list_added(shelf: Collection, known: PublishedCollection | None) -> dict[Key, CollectionItem]:
    """Return those items of the collection that were added from this work folder."""
    there = {_key(item) for item in shelf.items}
    recorded = known.items if known and known.slug == shelf.slug else ()
    return {(item.kind, item.repo): item for item in recorded if (item.kind, item.repo) in there}


def _key(item: object) -> Key:
    return item.item_type, item.item_id  # type: ignore[attr-defined]  # a CollectionItem of the client


def _name(key: Key) -> str:
    return " ".join(key)


def _add_item(api: HfApi, slug: str, member: Member) -> None:
    kind, repo = member.key
    call_with_retries(
        # An answer that was lost is no reason to fail: the item is there then.
        lambda: api.add_collection_item(slug, repo, cast("Kind", kind), note=member.item.note, exists_ok=True)
    )


def _remove_item(api: HfApi, shelf: Collection, key: Key) -> None:
    [item] = [item.item_object_id for item in shelf.items if _key(item) == key]
    call_with_retries(lambda: api.delete_collection_item(shelf.slug, item, missing_ok=True))


def _write_note(api: HfApi, shelf: Collection, member: Member) -> None:
    [item] = [item.item_object_id for item in shelf.items if _key(item) == member.key]
    call_with_retries(lambda: api.update_collection_item(shelf.slug, item, note=member.item.note))


def _sort_items(api: HfApi, slug: str, wanted: Sequence[Key]) -> bool:
    """Bring the items of ``wanted`` into this order among themselves; all others keep their places.

    Returns:
        whether any was moved.
    """
    # One move a look, as a move changes the positions of others; and no more moves than there are items, in case
    # that a Hub counts positions in another way.
    for moves in range(len(wanted) + 1):
        items = call_with_retries(lambda: api.get_collection(slug)).items
        ours = [item for item in items if _key(item) in wanted]
        wrong = [(item, key) for item, key in zip(ours, wanted, strict=False) if _key(item) != key]
        if not wrong or moves == len(wanted):
            return moves > 0
        place, key = wrong[0]
        [moved] = [item.item_object_id for item in ours if _key(item) == key]
        _move_item(api, slug, moved, place.position)
    return False


def _move_item(api: HfApi, slug: str, item: str, position: int) -> None:
    call_with_retries(lambda: api.update_collection_item(slug, item, position=position))


def _read_main(api: HfApi, key: Key) -> tuple[str, str | None] | None:
    """Return the newest commit of a repo and its card; None where there is no such repo any more."""
    from huggingface_hub.errors import RepositoryNotFoundError

    kind, repo = key
    try:
        head = str(api.repo_info(repo, repo_type=kind).sha)
    except RepositoryNotFoundError:
        return None
    return head, read_card(api, repo, kind, head)


def _differs(api: HfApi, key: Key, part: str) -> bool:
    found = call_with_retries(lambda: _read_main(api, key))
    return bool(found and found[1] and place_links(found[1], part) != found[1])


def _write_links(api: HfApi, key: Key, part: str) -> bool:
    """Put the part with the links into the card of a repo, or take it out; return whether a commit was made.

    The commit has no tag: what was released is what it was.
    """
    from huggingface_hub import CommitOperationAdd

    kind, repo = key

    def commit() -> bool:
        found = _read_main(api, key)
        # A repo without a card, or that is gone, is none that we can write to.
        if not found or not found[1] or place_links(found[1], part) == found[1]:
            return False
        head, card = found
        changed = place_links(str(card), part)
        api.create_commit(
            repo,
            [CommitOperationAdd("README.md", changed.encode())],
            repo_type=kind,
            commit_message="Links to the collection" if LINKS_START in changed else "No links to the collection",
            parent_commit=head,
        )
        return True

    return call_with_retries(commit)
