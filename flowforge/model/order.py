"""Orders over a graph given by dependencies: a topological one, a circle in it, and who comes before whom.

Everything is iterative and linear in steps and edges: graphs are as deep as people write them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


def topological(dependencies: Sequence[Collection[int]]) -> list[int] | None:
    """Return the nodes, each after all it depends on; None when there is a circle."""
    waiting = [len(sources) for sources in dependencies]
    successors = successors_of(dependencies)
    order = [no for no, count in enumerate(waiting) if count == 0]
    for no in order:
        for successor in successors[no]:
            waiting[successor] -= 1
            if waiting[successor] == 0:
                order.append(successor)
    return order if len(order) == len(dependencies) else None


def successors_of(dependencies: Sequence[Collection[int]]) -> list[list[int]]:
    """Return the same edges the other way round."""
    successors: list[list[int]] = [[] for _ in dependencies]
    for no, sources in enumerate(dependencies):
        for source in sources:
            successors[source].append(no)
    return successors


def circle(dependencies: Sequence[Collection[int]]) -> list[int]:
    """Return the nodes of one circle, each depending on the one before it; empty when there is none."""
    waiting = [len(sources) for sources in dependencies]
    successors = successors_of(dependencies)
    free = [no for no, count in enumerate(waiting) if count == 0]
    for no in free:
        for successor in successors[no]:
            waiting[successor] -= 1
            if waiting[successor] == 0:
                free.append(successor)
    stuck = {no for no, count in enumerate(waiting) if count > 0}
    if not stuck:
        return []
    # Every stuck node has a stuck dependency: going from one to the next must come round.
    trail: list[int] = []
    seen: dict[int, int] = {}
    no = min(stuck)
    while no not in seen:
        seen[no] = len(trail)
        trail.append(no)
        no = next(source for source in dependencies[no] if source in stuck)
    found = trail[seen[no] :][::-1]
    first = found.index(min(found))
    return found[first:] + found[:first]


def ancestors(dependencies: Sequence[Collection[int]], order: Sequence[int]) -> list[int]:
    """Return for each node the set of all that comes before it, as a bit set."""
    before = [0] * len(dependencies)
    for no in order:
        bits = 0
        for source in dependencies[no]:
            bits |= before[source] | (1 << source)
        before[no] = bits
    return before
