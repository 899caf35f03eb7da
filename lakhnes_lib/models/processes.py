"""Several processes that train or evaluate one model together, and what they tell each other.

Paper: §5. Notebook: 05_training.
``torchrun`` starts the processes, on one machine or on several, and gives each its number, its
*rank*. Every process holds the whole model. A batch is shared out by rows: each process reads its
own rows and adds up their gradient. Then the gradients of all are summed, so that every process
takes the same step. A program that ``torchrun`` did not start is one process, for which every
function here gives back what it was given. So that ``torchrun`` can start lost processes anew, set
the variable TORCH_DISABLE_SHARE_RDZV_TCP_STORE to 1: otherwise the new ones read the addresses of
the old ones (PyTorch issue 135712).
Differences from the paper: its code is one process, which copies the weights to all GPUs of one
machine at every step.
"""

# PyTorch is imported where it is used, since the command line asks for the rank when it starts.
import atexit
import os
from contextlib import contextmanager
from functools import cache

from lakhnes_lib.errors import LakhnesError


def _variable(name: str, alone: int) -> int:
    """A number that ``torchrun`` gives its processes; ``alone`` in any other program."""
    return int(os.environ[name]) if "TORCHELASTIC_RUN_ID" in os.environ else alone


def count() -> int:
    """How many processes there are."""
    return _variable("WORLD_SIZE", 1)


def rank() -> int:
    """This process's number, from 0. The first one writes files and prints."""
    return _variable("RANK", 0)


def rank_on_machine() -> int:
    """Its number among the processes of its machine: the number of its GPU."""
    return _variable("LOCAL_RANK", 0)


def is_restarted() -> bool:
    """Whether ``torchrun`` has started the processes anew, after one of them was lost."""
    return _variable("TORCHELASTIC_RESTART_COUNT", 0) > 0


def own(items) -> list:
    """This process's share of a list: every ``count()``-th item."""
    return items[rank() :: count()]


@cache
def _connect():
    """Connects the processes, and returns ``torch.distributed``: gradients on a GPU go by NCCL,
    everything else by Gloo."""
    # This module's functions have the group of processes as a default argument. Imported when the
    # group is there already, they would hold on to it. Then destroy_process_group could not end
    # the group's threads, and a thread that runs while Python ends can abort the process.
    import torch.distributed.nn.functional
    from torch import distributed as dist

    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    atexit.register(dist.destroy_process_group)
    return dist


@contextmanager
def _exchange():
    """``torch.distributed``, by which the processes tell each other something within the block.
    Raises LakhnesError if one of them is lost."""
    try:
        yield _connect()
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise LakhnesError(f"process {rank()}: another process was lost ({reason})") from None


def add_up(tensors: list) -> None:
    """Replaces each tensor by its sum over all processes, in one exchange.

    tensors: of one dtype and device, of the same shapes in every process.
    """
    if count() == 1:
        return
    import torch

    flat = torch.cat([tensor.flatten() for tensor in tensors])
    with _exchange() as dist:
        dist.all_reduce(flat)
    for tensor, total in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(total.view_as(tensor))


def gather(value) -> list:
    """What all processes pass, by rank: plain values, arrays, tensors on the CPU, or lists, tuples
    and dicts of them. Nobody goes on before all have come here."""
    if count() == 1:
        return [value]
    values = [None] * count()
    with _exchange() as dist:
        dist.all_gather_object(values, value)
    return values
