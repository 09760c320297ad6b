"""LXT, the library of AttnLRP's authors: its efficient form, gradient × input of a network whose functions it exchanges."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lxt.efficient import monkey_patch
from transformers.models.bert import modeling_bert

from benchmarks.peers.architectures import module
from benchmarks.peers.serving import Run, Task, serve


def attn_lrp(task: Task) -> Mapping[str, Run]:
    """Relevance, and beside it gradient × input of the network as it was."""
    before = _product(task)
    monkey_patch(modeling_bert)
    return {"lxt": _product(task), "torch, gradient × input": before}


def _product(task: Task) -> Run:
    network, classes = module(task.network), torch.tensor(task.classes)

    def run() -> object:
        x = torch.from_numpy(task.x).requires_grad_()
        network(x)[torch.arange(len(x)), classes].sum().backward()
        assert x.grad is not None
        return (x * x.grad).detach().numpy()

    return run


if __name__ == "__main__":
    serve({"attn_lrp": attn_lrp}, "lxt", "transformers")
