"""Somebody edits the status by hand: the copy ends equal all the same, and nothing is left at the store."""

from functools import partial
from typing import Any

from dev import lab
from tests.cluster.world import World, check_each

Operations = list[dict[str, Any]]

EDITS: dict[str, Operations] = {
    "removed": [{"op": "remove", "path": "/status"}],
    "succeeded": [{"op": "replace", "path": "/status/phase", "value": "Succeeded"}],
    "upload-less": [{"op": "remove", "path": "/status/upload"}],
    "ledger-less": [{"op": "remove", "path": "/status/batches"}],
    "wrong": [{"op": "replace", "path": "/status/batches/{batch}/etags/0", "value": "0" * 32}],
    "unclaimed": [{"op": "remove", "path": "/status/claim"}],
}


def test_the_status_is_edited(world: World):
    digests = {}
    for what, edits in EDITS.items():
        name = f"edited-{what}"
        digests[what] = world.begin(name, parts="4")
        world.wait_sending(name)
        (batch, *_) = lab.wait_until("a ledger", partial(ledger, world, name), 60)
        changed = [{**edit, "path": edit["path"].replace("{batch}", batch)} for edit in edits]
        world.edit_status(name, *changed)
        world.let_parts_go(name)

    def check(what: str) -> None:
        world.check_copied(f"edited-{what}", digests[what])

    check_each(EDITS, check)


def ledger(world: World, name: str) -> dict[str, Any]:
    return world.status(name).get("batches", {})


def test_the_status_is_removed_and_the_resource_deleted(world: World):
    world.begin("erased", parts="4")
    world.wait_sending("erased")
    world.edit_status("erased", *EDITS["removed"])
    world.delete("erased")
    world.wait_no_upload("erased")
    assert not world.exists("erased")
