"""A placement whose nodes grant at once what they are given."""

from __future__ import annotations

from typing import Any

from nbray.core.effects import End, Place, Recheck, Tell
from nbray.core.labels import rule
from nbray.core.ledger import NO_LIMIT
from nbray.core.messages import RESOURCE_UNIT
from nbray.core.placement import Placement

DRIVER, OTHER = b"driver00", b"driver01"
A, B = b"node-a", b"node-b"


def spec(cpu: float = 1, where: dict[str, str] | None = None, **more: float) -> Any:
    resources = {"CPU": cpu, **more}
    return (
        tuple(sorted((name, int(n * RESOURCE_UNIT)) for name, n in resources.items())),
        (),
        tuple(rule(*each) for each in (where or {}).items()),
    )


def units(**resources: float) -> dict[str, int]:
    return {name: int(n * RESOURCE_UNIT) for name, n in resources.items()}


def process(lease: int) -> bytes:
    return b"exec" + lease.to_bytes(4, "big")


class Pool:
    """A placement whose nodes grant at once what they are given."""

    def __init__(self, *cpus: float, fixed: bool = False, grant: bool = True, most: int = NO_LIMIT) -> None:
        self.machine = Placement(fixed=fixed)
        self.grant = grant
        self.running: list[Place] = []
        self.told: list[tuple[bytes, Any]] = []
        self.now = 0.0
        self.later: list[tuple[float, Any]] = []
        for number, n in enumerate(cpus):
            self.machine.add_node(b"node-" + bytes([97 + number]), units(CPU=n), most=most)
        self.settle()

    def settle(self) -> list[Any]:
        """Carry out effects until there are none; returns them."""
        done: list[Any] = []
        while effects := self.machine.drain():
            self.machine.validate()
            done += [effect for effect in effects if not isinstance(effect, Recheck)]
            for effect in effects:
                if isinstance(effect, Place):
                    self.running.append(effect)
                    if self.grant:
                        self.machine.granted(effect.lease, (process(effect.lease), effect.node, "", ""))
                elif isinstance(effect, End):
                    self.running = [place for place in self.running if place.lease != effect.lease]
                elif isinstance(effect, Tell):
                    self.told.append((effect.to, effect.message))
                elif isinstance(effect, Recheck):
                    self.later.append((self.now + effect.seconds, effect.event))
        return done

    def pass_time(self, seconds: float = 60.0) -> list[Any]:
        """What is due within that time is looked at again; the effects of it."""
        end = self.now + seconds
        done: list[Any] = []
        while self.later and (due := min(self.later, key=lambda each: each[0]))[0] <= end:
            self.later.remove(due)
            self.now = due[0]
            self.machine.recheck(due[1])
            done += self.settle()
        self.now = end
        return done

    @property
    def cpus(self) -> float:
        """Of node A, whether or not they are free."""
        return self.machine.ledger.nodes[A].totals["CPU"] / RESOURCE_UNIT

    def want(self, owner: bytes, n: int, shape: Any = None, parent: int | None = None) -> list[int]:
        """The leases that were placed because of it."""
        self.machine.want(owner, shape or spec(), n, parent)
        return [effect.lease for effect in self.settle() if isinstance(effect, Place)]

    def messages(self, owner: bytes, kind: str) -> list[Any]:
        return [message for to, message in self.told if to == owner and message[0] == kind]

    @property
    def free(self) -> dict[str, float]:
        return {name: n / RESOURCE_UNIT for name, n in self.machine.ledger.available().items()}
