"""Every error nbray raises on purpose. Names follow ``ray.exceptions``; the tree:

NbrayError
├── RayError                        whatever goes wrong with a task, an actor or an object
│   ├── RayTaskError                user code raised (also an instance of the user's exception type)
│   ├── TaskCancelledError
│   ├── WorkerCrashedError          the executor process died
│   │   └── OutOfMemoryError
│   ├── NodeDiedError
│   ├── RayActorError
│   │   ├── ActorDiedError          for good
│   │   └── ActorUnavailableError   for now; the call may or may not have run
│   ├── GetTimeoutError             (TimeoutError)
│   ├── TaskTimeoutError            (TimeoutError) the task ran longer than its option ``timeout``
│   ├── ObjectLostError
│   │   ├── OwnerDiedError
│   │   └── ObjectFreedError
│   ├── ObjectStoreFullError
│   │   └── OutOfDiskError
│   ├── PendingCallsLimitExceeded
│   ├── ActorAlreadyExistsError     (ValueError)
│   ├── ProcessLimitExceeded        a task needs a process more than there may be, and all there are wait
│   ├── TaskUnschedulableError, ActorUnschedulableError
│   ├── RuntimeEnvSetupError
│   ├── SerializationError          (TypeError) a value cannot be pickled or unpickled
│   └── RaySystemError              nbray itself is not in a state to do that
│   (and, only so that programs for Ray find them: see the end of this file)
├── ProtocolError                   a peer broke the protocol
│   └── HandshakeError              a peer does not have the cluster's secret, or another version
└── ConnectionClosed                a peer is gone
"""

from __future__ import annotations

from contextlib import suppress
from types import GetSetDescriptorType, MemberDescriptorType
from weakref import WeakValueDictionary


class NbrayError(Exception):
    """Base of every error that nbray defines."""


class RayError(NbrayError):
    """Base of the errors of tasks, actors and objects, as in ``ray.exceptions``."""


class RayTaskError(RayError):
    """User code raised in a task or actor method.

    What ``get`` raises is an instance of this class *and* of the user's exception type (where that type can be subclassed),
    so both ``except RayTaskError`` and ``except ValueError`` catch it.

    Attributes:
        function_name: the function or ``Class.method`` that raised.
        traceback_str: the remote traceback as text.
        cause: the user's exception as it was raised, or None if it could not be pickled.
        pid: process id of the executor. node: hex id of its node.
    """

    def __init__(
        self,
        function_name: str = "",
        traceback_str: str = "",
        cause: BaseException | None = None,
        pid: int = 0,
        node: str = "",
    ) -> None:
        # Not super(): in the types that are the user's too, that would run the constructor of the user's exception.
        Exception.__init__(self, function_name, traceback_str, cause, pid, node)
        self.function_name = function_name
        self.traceback_str = traceback_str
        self.cause = cause
        self.pid = pid
        self.node = node

    def __str__(self) -> str:
        return f"{self.function_name} (pid={self.pid}, node={self.node[:8]})\n{self.traceback_str}".rstrip()

    def as_instanceof_cause(self) -> RayTaskError:
        """This error as one that is an instance of the cause's type too; itself where that is impossible."""
        cause = self.cause
        if cause is None or isinstance(cause, RayTaskError):
            return self
        both = _both_types(type(cause))
        if both is None:
            return self
        try:
            error: RayTaskError = both(self)
        except Exception:  # a cause type with unusual construction or slots
            return self
        error.__cause__ = None
        return error


#: By the user's type. A made type refers to that, and is kept by its instances only: a class that a notebook's cell defines
#: again and again can go.
_BOTH: WeakValueDictionary[type, type] = WeakValueDictionary()
_SLOTS = (MemberDescriptorType, GetSetDescriptorType)


def _both_types(cause_type: type[BaseException]) -> type | None:
    both: type | None = _BOTH.get(cause_type)
    if both is not None or issubclass(RayTaskError, cause_type):
        return both
    name = f"RayTaskError({cause_type.__name__})"

    def __new__(cls: type, error: RayTaskError) -> BaseException:
        # Exception types may demand arguments in __new__; give them what the cause got.
        cause = error.cause
        assert cause is not None
        try:
            return cause_type.__new__(cls, *cause.args)
        except TypeError:  # MemoryError's refuses types that inherit from something else first; others want what is not in args
            return RayTaskError.__new__(cls, *cause.args)

    def __init__(self: RayTaskError, error: RayTaskError) -> None:
        RayTaskError.__init__(
            self, error.function_name, error.traceback_str, error.cause, error.pid, error.node
        )
        cause = error.cause
        assert cause is not None
        self.args = cause.args
        for key, value in getattr(cause, "__dict__", {}).items():
            if key not in ("function_name", "traceback_str", "cause", "pid", "node"):
                self.__dict__[key] = value
        # What C-level types (OSError.errno, ...) and __slots__ keep outside __dict__.
        for base in cause_type.__mro__[:-3]:
            for key, slot in vars(base).items():
                if isinstance(slot, _SLOTS) and not key.startswith("__"):
                    with suppress(Exception):  # read-only, or never set
                        setattr(self, key, getattr(cause, key))

    def __getattr__(self: RayTaskError, attribute: str) -> object:
        if attribute.startswith("__") or "cause" not in self.__dict__:
            raise AttributeError(attribute)
        return getattr(self.__dict__["cause"], attribute)

    def __reduce__(self: RayTaskError) -> tuple[object, ...]:
        return _rebuild, (self.function_name, self.traceback_str, self.cause, self.pid, self.node)

    namespace = {
        "__new__": __new__,
        "__init__": __init__,
        "__getattr__": __getattr__,
        "__str__": RayTaskError.__str__,
        "__reduce__": __reduce__,
        "__module__": "nbray.exceptions",
        "__qualname__": name,
    }
    try:
        both = _BOTH[cause_type] = type(name, (RayTaskError, cause_type), namespace)
    except TypeError:  # final, or a layout conflict
        return None
    return both


def _rebuild(
    function_name: str, traceback_str: str, cause: BaseException | None, pid: int, node: str
) -> RayTaskError:
    return RayTaskError(function_name, traceback_str, cause, pid, node).as_instanceof_cause()


class TaskCancelledError(RayError):
    """The task was cancelled before it gave a value. If that ended it while it ran, the error is a ``RayTaskError`` as well.

    Attributes:
        task_id: hex id of the task, where it is known, else None. error_message: what happened.
    """

    def __init__(self, task_id: str | None = None, error_message: str | None = None) -> None:
        super().__init__(task_id, error_message)
        self.task_id = task_id
        self.error_message = error_message

    def __str__(self) -> str:
        named = f"Task: {self.task_id} was cancelled. " if self.task_id else ""
        return f"{named}{self.error_message or ''}".strip() or "the task was cancelled"


class WorkerCrashedError(RayError):
    """The executor process died while it ran the task, more often than ``max_retries`` allows."""


class OutOfMemoryError(WorkerCrashedError):
    """The executor was ended because its node ran out of memory."""


class NodeDiedError(RayError):
    """The node that ran the task or held the object is gone."""


class RayActorError(RayError):
    """Base of the errors of calls to an actor that cannot answer.

    Attributes:
        actor_id: of the actor, hex; None if the error is not about a single one.
        actor_init_failed: its ``__init__`` raised.
        preempted: always False; here for programs written for Ray.
    """

    actor_id: str | None = None
    actor_init_failed: bool = False
    preempted: bool = False

    @property
    def error_msg(self) -> str:
        """The text of the error."""
        return str(self)


class ActorDiedError(RayActorError):
    """The actor is dead for good: killed, ended, its ``__init__`` raised, or out of restarts."""


class ActorUnavailableError(RayActorError):
    """The actor's process died with the call under way; it restarts. The call may or may not have run."""


class GetTimeoutError(RayError, TimeoutError):
    """``get`` reached its time-out. Nothing was cancelled; the refs stay valid."""


class TaskTimeoutError(RayError, TimeoutError):
    """The task ran longer than its option ``timeout`` allows. It was interrupted, and if need be its process was ended."""


class ObjectLostError(RayError):
    """The object's bytes are gone and it cannot be made again."""


class OwnerDiedError(ObjectLostError):
    """The process that owned the object is gone, and with it the knowledge of its value."""


class ObjectFreedError(ObjectLostError):
    """The object was freed."""


class ObjectStoreFullError(RayError):
    """The node's store cannot take the object."""


class OutOfDiskError(ObjectStoreFullError):
    """Neither the node's shared memory nor its disk can take the object. It works again when refs were dropped."""


class PendingCallsLimitExceeded(RayError):
    """An actor with ``max_pending_calls`` already has that many."""


class ProcessLimitExceeded(RayError):
    """A task needs a process, its node runs as many as it may (``NBRAY_MAX_PROCESSES``), and all of them wait for something.

    The text says what each waits for.
    """


class ActorAlreadyExistsError(RayError, ValueError):
    """An actor of that name lives in the namespace."""


class TaskUnschedulableError(RayError):
    """No node can ever hold what the task asks for."""


class ActorUnschedulableError(RayError):
    """No node can ever hold what the actor asks for."""


class RuntimeEnvSetupError(RayError):
    """The runtime environment could not be set up."""


class SerializationError(RayError, TypeError):
    """A value cannot be pickled or unpickled; the text names it."""


class RaySystemError(RayError):
    """nbray is not in a state to do that, for example not initialized or shut down meanwhile."""


class ProtocolError(NbrayError):
    """A peer sent what the protocol does not allow; its connection is closed."""


class HandshakeError(ProtocolError):
    """A peer does not know the cluster's secret, or speaks another version."""


class ConnectionClosed(NbrayError):
    """A peer is gone."""


# --- Ray's names for what does not happen here -------------------------------------------------------------------------
# nbray raises none of these. They are here so that ``except`` clauses of programs written for Ray find them, with Ray's bases.


class LocalRayletDiedError(RayError):
    """Ray's: the node's agent is gone. nbray's ``NodeDiedError`` says so."""


class UserCodeException(RayError):
    """Ray's: an error of user code outside of tasks."""


class ObjectFetchTimedOutError(ObjectLostError):
    """Ray's: a copy of the object was not there in time."""


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """Ray's: an object was deleted while a ref to it was around."""


class ObjectReconstructionFailedError(ObjectLostError):
    """Ray's: a lost object cannot be computed again. nbray's ``ObjectLostError`` says why."""


class RpcError(RayError):
    """Ray's: a call between Ray's processes failed."""


class PlasmaObjectNotAvailable(RayError):
    """Ray's: the object is not in the node's store within the time."""


class AsyncioActorExit(RayError):
    """Ray's: an async actor ends itself."""


class TaskPlacementGroupRemoved(RayError):
    """Ray's: the placement group of the task was removed."""


class ActorPlacementGroupRemoved(RayError):
    """Ray's: the placement group of the actor was removed."""


class ObjectRefStreamEndOfStreamError(RayError):
    """Ray's: a streaming generator has no more items."""


class OufOfBandObjectRefSerializationException(RayError):
    """Ray's, spelling included: a ref was pickled outside of Ray while that was forbidden."""


class UnserializableException(RayError):
    """Ray's: the exception of a task cannot be unpickled. nbray's ``RayTaskError`` has its traceback as text."""


class ActorHandleNotFoundError(ValueError, RayError):
    """Ray's: a handle belongs to another cluster."""


class AuthenticationError(RayError):
    """Ray's: the cluster wants a token. nbray's peers without the secret get a ``HandshakeError``."""
