"""As `lazy_result`, in the form that returns: a tensor that computes itself when the guest copies it."""

import torch

RETURNS = True


class Lazy(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return torch.zeros(())


def kernel(data):
    return torch.empty(data[0].shape).as_subclass(Lazy)
