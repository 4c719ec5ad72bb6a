"""`headwater snapshots pin | unpin`: keep one snapshot for ever, or leave it to the policy again.

The running learner does it. Where none runs, the mark is written here, under the lock of the state
directory, so that no learner that starts meanwhile takes the snapshot away.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from service.cli.options import ConfigOption, JsonOption, SetOption
from service.cli.side_door import settings_of, show, tell

_PATIENCE_S = 30.0
IdArgument = Annotated[str, typer.Argument(help="Id of the snapshot, as `list` shows it.")]


def pin(
    id: IdArgument, path: ConfigOption = None, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Keep this snapshot, and the journal after it, whatever the policy says."""
    show(_mark("pin", id, path, set_), as_json, f"pinned: {id} is kept until it is unpinned.")


def unpin(
    id: IdArgument, path: ConfigOption = None, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Leave this snapshot to the keep policy again."""
    show(_mark("unpin", id, path, set_), as_json, f"unpinned: the policy decides about {id}.")


def _mark(command: str, id: str, path: Any, set_: list[str] | None) -> dict[str, Any]:
    from service.errors import LearnerAway

    found = settings_of(path, set_)
    try:
        return tell(found, command, _PATIENCE_S, id=id)
    except LearnerAway:
        return _mark_here(command, id, found)


def _mark_here(command: str, id: str, found: Any) -> dict[str, Any]:
    from service import settings
    from service.cli.side_door import who
    from service.errors import SnapshotInvalid
    from service.learn.audit import Audit
    from service.weights.lock import DirectoryLock
    from service.weights.snapshot_reader import SnapshotReader

    state_at = settings.state_directory(found)
    reader = SnapshotReader(state_at / "snapshots")
    if not state_at.is_dir():
        raise SnapshotInvalid(f"there is no snapshot {id!r}: {state_at} does not exist")
    with DirectoryLock.acquire(state_at):

        def do(_: dict[str, Any]) -> dict[str, Any]:
            (reader.pin if command == "pin" else reader.unpin)(id)
            return {"id": id, "pinned": command == "pin"}

        return Audit(state_at).of({"command": command, "id": id, "by": who()}, do)
