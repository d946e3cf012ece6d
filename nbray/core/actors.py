"""The caller's machine for one actor: order, epochs, retries.

Calls of one caller go in the order of ``submit``, also while an earlier call's argument is pending; but to an actor that takes
several at a time (threaded, async) each goes once its own arguments are there, or a call whose argument comes of a later one
would wait for ever. What was sent when the actor's process died may have run, so it is sent again only if the call has
retries; what was not sent waits for the next epoch.

    state       means                                           calls
    pending     being created                                   queue
    alive       ``peer`` reaches the incarnation ``epoch``      are sent
    limbo       its connection broke, or we asked for its end;  queue; those sent wait for the verdict. If it says
                placement will say more                         "alive", only the connection broke
    restarting  the next epoch is coming                        queue
    dead        for good, ``reason`` says why                   fail

Effects: ``(SEND, actor, calls)``, ``(CONNECT, actor, address)``, ``(FAIL, call, dead, reason)`` with ``dead`` False if the actor
lives on and only this call is lost, ``(CANCELLED, call)``: a cancelled call is where it cannot run any more, ``(INTERRUPT, actor,
call)``: a cancelled call was sent, the actor has to know.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from nbray.core.calls import Call
from nbray.core.ids import Address
from nbray.core.messages import Loss

SEND, CONNECT, FAIL = "actor-send", "actor-connect", "actor-fail"
CANCELLED, INTERRUPT = "actor-cancelled", "actor-interrupt"

PENDING, ALIVE, LIMBO, RESTARTING, DEAD = "pending", "alive", "limbo", "restarting", "dead"


class ActorCalls:
    """
    Attributes:
        sent: calls on their way or running, by sequence number, in order.
        queue: calls not sent yet, in order.
        unordered: calls do not wait for the arguments of earlier ones.
        waiting: of an unordered actor: calls not in the queue yet because an argument is pending, by sequence number.
        peer: the shell's connection to the present incarnation.
        known: numbers of the functions that ``peer`` has.
    """

    __slots__ = (
        "actor_id", "state", "epoch", "reason", "address", "peer", "sent", "queue", "known", "effects", "name",
        "unordered", "waiting",
    )  # fmt: skip

    def __init__(self, actor_id: bytes, effects: list[tuple[Any, ...]], name: str = "") -> None:
        self.actor_id = actor_id
        self.name = name
        self.state = PENDING
        self.epoch = -1
        self.reason: Loss | None = None
        self.address: Address | None = None
        self.peer: Any = None
        self.sent: dict[int, Call] = {}
        self.queue: deque[Call] = deque()
        self.unordered = False
        self.waiting: dict[int, Call] = {}
        self.known: set[int] = set()
        self.effects = effects

    @property
    def running(self) -> Call | None:
        """The first unanswered call."""
        return next(iter(self.sent.values()), None)

    @property
    def unfinished(self) -> int:
        return len(self.sent) + len(self.queue) + len(self.waiting)

    # -- calls -----------------------------------------------------------------------------------------------------

    def submit(self, call: Call) -> None:
        if self.state == DEAD:
            self._fail(call, True)
            return
        if call.missing and self.unordered:
            self.waiting[call.sequence] = call
            return
        self.queue.append(call)
        if self.state == ALIVE and not call.missing:
            self.pump()

    def resolved(self, call: Call) -> None:
        """A call's arguments are there, or it ended while they were pending."""
        if self.waiting.pop(call.sequence, None) is not None and not call.ended:
            self.queue.append(call)
        self.pump()

    def pump(self) -> None:
        """Send what may go: from the head on while arguments are there. Calls that ended in the queue make room."""
        if self.state != ALIVE:
            return
        queue = self.queue
        batch: list[Call] = []
        while queue:
            call = queue[0]
            if call.ended:
                queue.popleft()
                continue
            if call.missing and not self.unordered:
                break
            queue.popleft()
            if call.missing:  # one that is sent again, and an argument of it was lost
                self.waiting[call.sequence] = call
                continue
            call.place = self
            self.sent[call.sequence] = call
            batch.append(call)
        if batch:
            self.effects.append((SEND, self, batch))

    def finished(self, sequence: int, duration: float, peer: Any = None) -> Call | None:
        """An answer came; None for a late duplicate, or if ``peer`` leads to an earlier incarnation."""
        if peer is not None and peer is not self.peer:
            return None
        call = self.sent.pop(sequence, None)
        if call is not None:
            call.function.ran(duration)
            call.place = None
        return call

    def again(self, call: Call) -> None:
        """Run a call once more (its exception is one to retry). It keeps its place before what is queued."""
        call.place = None
        if self.state == DEAD:
            self._fail(call, True)
        else:
            self.queue.appendleft(call)
            self.pump()

    def cancel(self, call: Call) -> None:
        """The call is not wanted any more: it does not start, not even again; if it may have, the actor is told.

        What was sent when the connection broke waits for placement's word like the others.
        """
        if call.cancelled or call.ended:
            return
        call.cancelled = True
        if call.place is not self:
            self.effects.append((CANCELLED, call))
        elif self.peer is not None:
            self.effects.append((INTERRUPT, self, call))

    # -- the actor -------------------------------------------------------------------------------------------------

    def changed(self, state: str, epoch: int, address: Address | None, reason: Loss | None) -> None:
        """What placement says of the actor. Older epochs are old news."""
        if self.state == DEAD or epoch < self.epoch:
            return
        here = self.state == ALIVE or (self.state == LIMBO and state == RESTARTING)
        if state != DEAD and here and epoch == self.epoch:
            return  # said twice
        if state == ALIVE:
            self._settle(reason)
            self.state, self.epoch, self.address, self.peer = ALIVE, epoch, address, None
            self.known = set()
            self.effects.append((CONNECT, self, address))
            self.pump()
        elif state == RESTARTING:
            self._settle(reason)
            self.state, self.epoch, self.reason, self.peer = RESTARTING, epoch, reason, None
        elif state == DEAD:
            self.state, self.reason, self.peer = DEAD, reason, None
            self._settle(reason)
            unsent = [*self.queue, *self.waiting.values()]
            self.queue, self.waiting = deque(), {}
            for call in unsent:
                self._fail(call, True)

    def killed(self) -> None:
        """We have asked for its end: what is called from here on waits for the verdict, and never reaches it."""
        if self.state == ALIVE:
            self.state = LIMBO

    def lost(self, peer: Any) -> None:
        """The connection to the incarnation broke."""
        if peer is self.peer and self.state == ALIVE:
            self.state, self.peer = LIMBO, None

    def _settle(self, reason: Loss | None) -> None:
        """The fate of what was sent to the incarnation that is gone."""
        sent, self.sent = self.sent, {}
        again: list[Call] = []
        for call in sent.values():
            call.place = None
            if call.ended:
                continue
            if call.cancelled:
                self.effects.append((CANCELLED, call))
            elif self.state != DEAD and call.charge():
                again.append(call)
            else:
                self.effects.append((FAIL, call, self.state == DEAD, reason))
        self.queue.extendleft(reversed(again))

    def _fail(self, call: Call, dead: bool) -> None:
        if not call.ended:
            self.effects.append((FAIL, call, dead, self.reason))

    def validate(self) -> None:
        for call in self.sent.values():
            assert call.place is self and call not in self.queue
        for call in self.queue:
            assert call.place is None
        if self.state == DEAD:
            assert not self.sent and not self.queue and not self.waiting
        for call in self.waiting.values():
            assert self.unordered and call.missing and call.place is None and not call.ended
        if self.state == ALIVE and self.queue:
            head = next((call for call in self.queue if not call.ended), None)
            assert head is None or head.missing, "a call that could go was not sent"
