"""How the end of a process reads: to the callers of what it ran, and on one line."""

from __future__ import annotations

from typing import Any

from nbray.core.messages import EXIT_ACTOR, Loss
from nbray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ActorUnschedulableError,
    OutOfMemoryError,
    RayError,
    WorkerCrashedError,
)
from nbray.wire.errors import describe_error


def why(reason: Loss | None) -> str:
    """One line on why an actor's process went."""
    if reason is None:
        return ""
    kind, text, pid, code, _ = reason
    if kind == "init":
        told = describe_error(text) if isinstance(text, bytes) else text
        return f"its __init__ raised: {told.strip().rpartition(chr(10))[2]}"
    if kind == "killed" and text == EXIT_ACTOR:
        return "it exited on purpose, by exit_actor() or sys.exit()"
    return {
        "signal": f"its process (pid={pid}) was ended by signal {text!s}",
        "exit": f"its process (pid={pid}) ended with exit code {code}",
        "node": "its node is gone",
        "killed": f"it was killed ({text!s})" if text else "it was killed",
        "memory": f"its process (pid={pid}) was ended because its node ran out of memory: {text!s}",
        "dropped": "no handle to it was left",
        "owner": "the process that created it is gone",
    }.get(kind, str(text))


def actor_error(name: str, dead: bool, reason: Loss | None) -> RayError:
    """How an actor's end reads to the caller of ``name``."""
    if not dead:
        return ActorUnavailableError(
            f"The actor restarts while {name} was under way: {why(reason) or 'its connection broke'}. "
            "The call may or may not have run; max_task_retries would have tried it again."
        )
    if reason is None:
        return ActorDiedError(f"The actor of {name} is dead.")
    if reason[0] == "init":
        told = describe_error(reason[1]) if isinstance(reason[1], bytes) else reason[1]
        return ActorDiedError(f"The actor of {name} never came up: its __init__ raised.\n{told}")
    if reason[0] == "infeasible":
        return ActorUnschedulableError(f"The actor of {name} can never be placed: {reason[1]!s}")
    text = f"The actor of {name} is dead: {why(reason)}."
    if reason[4]:
        text += f"\nThe end of its stderr:\n{reason[4]}"
    return ActorDiedError(text)


def crash_error(name: str, reason: Any, memory_kills: int = 0) -> RayError:
    """How an executor's end reads to the caller of what it ran."""
    if reason is None:
        return WorkerCrashedError(
            f"The connection to the executor of {name} broke, and nobody says that the executor died. It may have run or not."
        )
    kind, text, pid, code, tail = reason
    if kind == "memory":
        again = f" It had been run again {memory_kills} times after that." if memory_kills else ""
        return OutOfMemoryError(
            f"The executor that ran {name} (pid={pid}) was ended because its node ran out of memory: {text}.{again} "
            "Ask for more CPUs a task, so that fewer run at a time, or for less memory."
        )
    how = {
        "signal": f"was ended by signal {text}",
        "exit": f"ended with exit code {code} in the middle of the call",
        "node": "was lost with its node",
        "killed": f"was killed: {text}",
    }.get(kind, str(text))
    message = f"The executor that ran {name} (pid={pid}) {how}."
    if tail:
        message += f"\nThe end of its stderr:\n{tail}"
    return WorkerCrashedError(message)
