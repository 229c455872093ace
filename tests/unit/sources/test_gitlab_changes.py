"""How GitLab's pushes, merges, tags, releases and feature flags are read."""

from __future__ import annotations

import pytest

from router.model.events import UNDATED, DeployPhase, OriginKind
from tests.unit.sources.gitlab_bodies import GITLAB, SHA, WEB, at, heartbeat, load, parse, unreadable

ZEROS = "0" * 40


# -- pushes


def test_a_push_to_the_default_branch_is_told_with_its_newest_commit():
    """The newest commit names and dates the push; who pushed it is its author."""
    (report,) = parse(load("push-default-branch"))
    assert report.phase is DeployPhase.PUSHED
    assert (report.origin_kind, report.origin, report.environment) == (
        OriginKind.GITLAB_PROJECT,
        "shop/checkout",
        "",
    )
    assert (report.revision, report.ref, report.title) == (SHA, "main", "Round totals half even")
    assert (report.author, report.at) == ("dana", at(9, 44, 30))
    assert report.url == f"{WEB}/-/commit/{SHA}"
    assert report.facts == {"commits": "2"}


def test_the_newest_commit_is_found_by_its_id_else_it_is_the_last():
    """More than 20 commits are not all in the body, and their order is not promised."""
    doc = load("push-default-branch")
    doc["commits"].reverse()
    assert parse(doc)[0].title == "Round totals half even"
    doc["total_commits_count"] = 50
    del doc["commits"][0]
    (report,) = parse(doc)
    assert (report.title, report.facts) == ("Say which rounding is meant", {"commits": "50"})


def test_a_new_branch_without_commits_has_no_time():
    """The default branch of a new project is told, too; the body then dates nothing."""
    (report,) = parse(load("push"))
    assert (report.phase, report.at, report.title) == (DeployPhase.PUSHED, UNDATED, "")


@pytest.mark.parametrize(
    ("ref", "default", "protected", "told"),
    [
        ("refs/heads/main", "main", True, True),
        ("refs/heads/main", "main", False, True),
        ("refs/heads/main", "main", None, True),
        ("refs/heads/release/4", "main", True, True),
        ("refs/heads/totals", "main", False, False),
        ("refs/heads/totals", "main", None, False),
        ("refs/heads/totals", None, None, True),
        ("refs/heads/totals", None, False, False),
    ],
)
def test_only_default_and_protected_branches_are_told(ref, default, protected, told):
    """Work on a branch of one's own reaches no environment; where nothing tells branches apart, all count."""
    doc = load("push-default-branch")
    doc.update(ref=ref, ref_protected=protected)
    doc["project"]["default_branch"] = default
    found = parse(doc)
    if told:
        assert found[0].ref == ref.removeprefix("refs/heads/")
    else:
        assert found == heartbeat("push_branch")


def test_a_deleted_branch_is_a_heartbeat():
    """GitLab writes zeros for the commit after, and no commit to check out."""
    doc = {**load("push-default-branch"), "after": ZEROS, "checkout_sha": None, "commits": []}
    assert parse(doc) == heartbeat("push_deleted")


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"ref": "main"}, "ref (refs/heads/...)"),
        ({"ref": 7}, "ref (refs/heads/...)"),
        ({"project": None, "repository": None}, "project"),
        ({"after": None, "checkout_sha": "x"}, "checkout_sha"),
    ],
)
def test_a_push_of_nothing_known_is_trouble(change, missing):
    """Without branch, project or commit there is nothing to tell but that, and nothing to refuse."""
    unreadable(parse({**load("push-default-branch"), **change}), "push_unreadable", missing)


def test_all_that_is_missing_is_named():
    """Whoever mends a custom template need not try it field by field."""
    told = parse({"object_kind": "push"})
    unreadable(told, "push_unreadable", "project", "checkout_sha", "ref (refs/heads/...)")


def test_pushing_a_branch_back_and_forth_gives_different_events():
    """The commit before belongs to the event: the same commit may be pushed again after a revert."""
    doc = load("push-default-branch")
    assert parse(doc)[0].event_id != parse({**doc, "before": "f" * 40})[0].event_id


def test_a_system_hook_and_a_project_hook_tell_of_the_same_push():
    """A system hook has no object_kind; a hook of the group has other headers. One push, one event."""
    doc = load("push-default-branch")
    system = {k: v for k, v in doc.items() if k != "object_kind"}
    assert parse(system, x_gitlab_event="System Hook", idempotency_key="other") == parse(doc)


def test_a_renamed_project_keeps_its_event_ids():
    """The number stays when the path changes, so a resend after a rename counts once."""
    doc = load("push-default-branch")
    doc["project"]["path_with_namespace"] = "till/checkout"
    (report,) = parse(doc)
    assert report.origin == "till/checkout"
    assert report.event_id == parse(load("push-default-branch"))[0].event_id


def test_a_very_old_push_names_its_project_by_its_page():
    """Without a project object the page's path and the flat number stand for it."""
    doc = load("push-default-branch")
    del doc["project"], doc["user_username"]
    (report,) = parse(doc)
    assert (report.origin, report.author) == ("shop/checkout", "Dana Example")
    assert report.event_id == parse(load("push-default-branch"))[0].event_id
    for page in ("http://[", "https://gitlab.example.com/", "checkout"):
        unreadable(parse({**doc, "repository": {"homepage": page}}), "push_unreadable", "project")


def test_a_hidden_name_is_no_name():
    """What the reader may not see is not shown as if it were somebody."""
    doc = {**load("push-default-branch"), "user_username": "[REDACTED]", "user_name": "[REDACTED]"}
    assert parse(doc)[0].author == ""


# -- tags


def test_an_annotated_tag_names_the_commit_and_not_the_tag_object():
    """The tag becomes a name of the version; the body does not say when it was set."""
    (report,) = parse(load("tag-annotated"))
    assert (report.phase, report.revision) == (DeployPhase.TAGGED, SHA)
    assert (report.names, report.ref, report.at) == (("v4.2.0",), "v4.2.0", UNDATED)
    assert (report.author, report.title) == ("dana", "Round totals half even")
    assert report.url == f"{WEB}/-/tags/v4.2.0"


def test_a_tag_without_its_commit_has_the_tags_message():
    """Tagging an old commit lists none; a tag's name may need quoting in an address."""
    doc = {**load("tag-annotated"), "commits": [], "ref": "refs/tags/checkout/v4 b"}
    (report,) = parse(doc)
    assert (report.title, report.names) == ("Release v4.2.0", ("checkout/v4 b",))
    assert report.url == f"{WEB}/-/tags/checkout/v4%20b"


def test_a_deleted_tag_is_a_heartbeat_and_an_odd_one_trouble():
    """Nothing is released by taking a tag away."""
    doc = load("tag-annotated")
    assert parse({**doc, "after": ZEROS, "checkout_sha": None}) == heartbeat("tag_push_deleted")
    for ref in ("refs/tags/", "v4.2.0", None):
        unreadable(parse({**doc, "ref": ref}), "tag_push_unreadable", "ref (refs/tags/...)")


# -- merge requests


def test_a_merge_is_told_with_its_merge_commit():
    """The merge commit is what will be built; author, title, number and labels are for people."""
    (report,) = parse(load("merge-request-merged"))
    assert (report.phase, report.revision, report.ref) == (DeployPhase.MERGED, SHA, "main")
    assert (report.title, report.author) == ("Round totals half even", "Dana Example")
    assert (report.event_id, report.environment) == (f"{GITLAB}:merge_request:4711:42:merged", "")
    assert report.at == at(9, 45)
    assert report.facts == {"merge_request": "!42", "labels": "totals, no rollback"}


@pytest.mark.parametrize("labels", [None, [], "totals", [None, 7, {"title": ""}, {}]])
def test_a_merge_without_labels_says_nothing_of_them(labels):
    """No label is not an empty label."""
    assert parse({**load("merge-request-merged"), "labels": labels})[0].facts == {"merge_request": "!42"}


def test_labels_are_bounded():
    """A request may have any number of labels; twenty titles in 300 characters are shown."""
    doc = {**load("merge-request-merged"), "labels": [{"title": f"{i} {'x' * 250}"} for i in range(100)]}
    assert len(parse(doc)[0].facts["labels"]) == 300
    doc["labels"] = [{"title": str(i)} for i in range(100)]
    assert parse(doc)[0].facts["labels"].endswith(", 19")


def test_a_fast_forward_merge_has_the_last_commit():
    """Without a merge commit the branch's last commit is what was merged."""
    doc = load("merge-request-merged")
    doc["object_attributes"]["merge_commit_sha"] = None
    assert parse(doc)[0].revision == "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334"
    del doc["object_attributes"]["last_commit"]
    unreadable(parse(doc), "merge_request_unreadable", "merge_commit_sha (or last_commit)")


@pytest.mark.parametrize(
    ("target", "default", "told"),
    [
        ("main", "main", True),
        ("trunk", "trunk", True),
        ("main", "develop", True),
        ("Master", "develop", True),
        ("release", "main", True),
        ("release/4.2", "main", True),
        ("releases/4", "main", True),
        ("release-4-2", "main", True),
        ("release4", "main", True),
        ("hotfix/totals", "main", True),
        ("stable", "main", True),
        ("stable-4", "main", True),
        ("4-2-stable", "main", True),
        ("prod", "main", True),
        ("prod-eu", "main", True),
        ("production", "main", True),
        ("production/eu", "main", True),
        ("totals", "main", False),
        ("feature/release", "main", False),
        ("maintenance", "main", False),
        ("mainline-docs", "main", False),
        ("product-page", "main", False),
        ("stabletotals", "main", False),
        ("dana/main", "main", False),
        ("totals", None, True),
        (None, "main", True),
    ],
)
def test_a_merge_into_a_branch_of_somebodys_own_is_no_change_yet(target, default, told):
    """Stacked requests merge into each other; only what reaches a branch that is deployed is told."""
    doc = load("merge-request-merged")
    doc["object_attributes"]["target_branch"] = target
    doc["project"]["default_branch"] = default
    found = parse(doc)
    if told:
        assert (found[0].phase, found[0].ref) == (DeployPhase.MERGED, target or "")
    else:
        assert found == heartbeat("merge_request_branch")


@pytest.mark.parametrize(
    ("action", "state", "told"),
    [
        ("merge", "merged", True),
        (None, "merged", True),
        ("update", "merged", False),
        ("open", "opened", False),
    ],
)
def test_only_the_merge_itself_is_told(action, state, told):
    """A label set on a request that was merged long ago is not a merge."""
    doc = load("merge-request-merged")
    doc["object_attributes"].update(action=action, state=state)
    assert (parse(doc) != heartbeat("merge_request")) is told


def test_a_merge_without_time_is_undated():
    """A merge is a merge; when it was received then stands for when it was made."""
    doc = load("merge-request-merged")
    doc["object_attributes"]["updated_at"] = None
    assert parse(doc)[0].at == UNDATED


def test_an_old_merge_request_names_its_project_inside():
    """Bodies of old releases have the project only in the request itself."""
    doc = load("merge-request-merged")
    del doc["project"]
    doc["object_attributes"]["target"] = {"path_with_namespace": "shop/checkout"}
    (report,) = parse(doc)
    assert (report.origin, report.event_id) == ("shop/checkout", "gitlab:merge_request:4711:42:merged"), (
        "no page"
    )


# -- releases


def test_a_release_names_its_commit():
    """A release gives the commit a name that people and images use."""
    (report,) = parse(load("release-created"))
    assert (report.phase, report.revision, report.names) == (DeployPhase.RELEASED, SHA, ("v4.2.0",))
    assert (report.ref, report.title, report.at) == ("v4.2.0", "Checkout 4.2.0", at(10, 8, 30))
    assert report.url == f"{WEB}/-/releases/v4.2.0"


def test_a_release_is_dated_by_its_making_where_nothing_better_is_there():
    """released_at is newer than created_at; the tag stands for a missing name."""
    doc = {**load("release-created"), "released_at": None, "name": None}
    (report,) = parse(doc)
    assert (report.at, report.title) == (at(10, 8), "v4.2.0")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"action": "update"}, "release_update"),
        ({"action": "delete"}, "release_delete"),
        ({"action": "some_new_word"}, "release_other"),
        ({"action": None}, "release_other"),
    ],
)
def test_only_a_new_release_of_a_commit_is_told(change, word):
    """A changed text is no release."""
    assert parse({**load("release-created"), **change}) == heartbeat(word)


def test_a_release_of_no_commit_or_tag_is_trouble():
    """What it released cannot be said."""
    unreadable(parse({**load("release-created"), "commit": None}), "release_unreadable", "commit.id")
    unreadable(parse({**load("release-created"), "tag": ""}), "release_unreadable", "tag")


def test_a_releases_action_may_stand_where_the_documentation_says():
    """GitLab documents object_attributes.action and sends action."""
    doc = {**load("release-created"), "action": None, "object_attributes": {"action": "create"}}
    assert parse(doc) == parse(load("release-created"))


# -- feature flags


def test_a_feature_flag_is_toggled():
    """A flag is no commit: its name, its state and who switched it are told, undated."""
    (report,) = parse(load("feature-flag-on"))
    assert (report.phase, report.ref, report.detail) == (DeployPhase.TOGGLED, "new-totals", "on")
    assert (report.author, report.at, report.revision) == ("dana", UNDATED, "")
    assert report.url == f"{WEB}/-/feature_flags"
    doc = load("feature-flag-on")
    doc["object_attributes"].update(active=False, iid=3)
    assert (parse(doc)[0].detail, parse(doc)[0].url) == ("off", f"{WEB}/-/feature_flags/3")


def test_each_switching_of_a_flag_is_an_event_of_its_own():
    """On, off and on again: the delivery tells them apart, and the same delivery sent again counts once."""
    doc = load("feature-flag-on")
    ids = [
        parse(doc, **headers)[0].event_id
        for headers in (
            {"idempotency_key": "a", "x_gitlab_event_uuid": "z"},
            {"idempotency_key": "a", "x_gitlab_webhook_uuid": "fresh each time"},
            {"webhook_id": "b"},
            {"x_gitlab_event_uuid": "c"},
            {},
        )
    ]
    assert ids[0] == ids[1] == f"{GITLAB}:feature_flag:4711:6:on:a"
    assert len(set(ids)) == 4
    assert parse(doc)[0].event_id == ids[4]


@pytest.mark.parametrize(
    ("attributes", "missing"),
    [
        (None, ["object_attributes.name", "active"]),
        ({}, ["object_attributes.name", "active"]),
        ({"name": "x", "active": "true"}, ["active"]),
        ({"active": False}, ["object_attributes.name"]),
    ],
)
def test_a_flag_without_name_or_state_is_trouble(attributes, missing):
    """There is no third state, and a word is none."""
    doc = {**load("feature-flag-on"), "object_attributes": attributes}
    unreadable(parse(doc), "feature_flag_unreadable", *missing)
