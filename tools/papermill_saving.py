"""Papermill, which here saves a notebook every half minute, not before and after each of its cells.

With its pictures and sounds a notebook takes up to 16 MB, and to write these 200 times is a good
part of a short run. The end is always saved: the last cell, a failed cell, the time limit, Ctrl-C.
Takes the arguments of papermill.
"""

from papermill.cli import papermill
from papermill.engines import NotebookExecutionManager

EVERY_SECONDS = 30
_save_now = NotebookExecutionManager.save


def _save(manager: NotebookExecutionManager, **options):
    """What papermill calls to save: before and after each cell, and when the notebook has ended."""
    since = (manager.now() - manager.last_save_time).total_seconds()
    if since >= EVERY_SECONDS or manager.end_time:
        _save_now(manager, **options)


if __name__ == "__main__":
    NotebookExecutionManager.save = _save
    papermill()
