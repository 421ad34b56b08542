"""What a fault did: counted, and shown as a row of a Markdown table."""

from collections.abc import Iterable
from dataclasses import dataclass, field

LISTS = ("lost", "doubled", "orphans", "not_ended", "wrong")


@dataclass(slots=True)
class Outcome:
    """One fault's count; every list but the remarks must be empty."""

    fault: str
    times: int = 0
    accepted: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    not_ended: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    remark: str = ""
    log: str = ""
    """Where the log of a run with faults lies."""

    @property
    def faults(self) -> list[str]:
        """Everything that must not be."""
        return [f"{name}: {item}" for name in LISTS for item in getattr(self, name)]

    def name_faults(self, where: str) -> None:
        """Say of each fault where it comes from."""
        for name in LISTS:
            setattr(self, name, [f"{item} ({where})" for item in getattr(self, name)])

    def add(self, other: "Outcome") -> None:
        """Count another round of the same fault in."""
        self.times += other.times
        self.accepted += other.accepted
        for name in LISTS:
            getattr(self, name).extend(getattr(other, name))
        self.seconds = max(self.seconds, other.seconds)
        self.remark = "; ".join(dict.fromkeys(filter(None, [self.remark, other.remark])))


HEAD = (
    "| fault | times | documents accepted | lost | doubled | orphans | jobs not ended "
    "| longest recovery | |\n|---|---|---|---|---|---|---|---|---|"
)


def table(outcomes: Iterable[Outcome]) -> str:
    """Return the outcomes as a Markdown table."""
    rows = [
        f"| {item.fault} | {item.times:,} | {item.accepted:,} | {len(item.lost)} "
        f"| {len(item.doubled)} | {len(item.orphans)} | {len(item.not_ended)} "
        f"| {item.seconds:.1f} s | {item.remark} |"
        for item in outcomes
    ]
    return "\n".join([HEAD, *rows])


def merge(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Join the rounds of each fault, in the order of their first one."""
    joined: dict[str, Outcome] = {}
    for item in outcomes:
        joined.setdefault(item.fault, Outcome(item.fault)).add(item)
    return list(joined.values())
