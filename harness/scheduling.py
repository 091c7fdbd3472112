"""Which worker runs which tests: each takes a cell for itself, and helps with another's when none is left.

A worker that goes on with its cell has the snapshot in memory and a guest that may serve the next suite too.
"""

from collections.abc import Callable
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling


class CellScheduling(LoadScopeScheduling):  # type: ignore[misc] # xdist is not typed
    """xdist's scheduling by scope, where a scope is a suite on a cell, or a whole cell."""

    def __init__(
        self, config: pytest.Config, log: Any, cell_of: Callable[[str], str | None], *, whole_cells: bool
    ) -> None:
        """Schedule the run of a configuration.

        Args:
            config: of the run.
            log: xdist's.
            cell_of: returns the cell that a test, by its node id, runs on.
            whole_cells: whether a cell's tests must follow each other in one worker.
        """
        super().__init__(config, log)
        self._cell_of = cell_of
        self._whole_cells = whole_cells

    def _split_scope(self, nodeid: str) -> str:
        cell = self._cell_of(nodeid)
        if cell is None:
            return nodeid
        return cell if self._whole_cells else f"{cell} {nodeid.partition('::')[0]}"

    def _assign_work_unit(self, node: Any) -> None:
        self.workqueue.move_to_end(self._next_for(node), last=False)
        super()._assign_work_unit(node)

    def _next_for(self, node: Any) -> str:
        """Return what a worker is to have: a scope of its own cell, of one nobody has begun, or where most are left."""
        left: dict[str, list[str]] = {}
        for scope in self.workqueue:
            left.setdefault(_cell(scope), []).append(scope)
        begun = [[_cell(scope) for scope in scopes] for scopes in self.assigned_work.values()]
        own = _cell(next(reversed(self.assigned_work[node]), ""))
        if own not in left:
            fresh = (cell for cell in left if not any(cell in cells for cells in begun))
            own = next(fresh, None) or max(left, key=lambda cell: len(left[cell]))
        return left[own][0]

    def remove_node(self, node: Any) -> str | None:
        """Take a dead worker's tests back, but for the one that it died in: xdist itself would run that one again."""
        units = self.assigned_work[node]
        pending = ((unit, nodeid) for unit in units.values() for nodeid, done in unit.items() if not done)
        unit, crashed = next(pending, (None, None))
        if unit is not None:
            unit[crashed] = True
        self.assigned_work[node] = {scope: unit for scope, unit in units.items() if not all(unit.values())}
        super().remove_node(node)
        return crashed


def _cell(scope: str) -> str:
    return scope.partition(" ")[0]
