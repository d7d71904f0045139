"""The losses of gradient-trained heads against torch's."""

from __future__ import annotations

import torch
from torch.nn.functional import kl_div, mse_loss

from harness.losses import kl, mse, nll, sigmoid_mse


def test_losses_against_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    maps, target = torch.randn(3, 4, 5, generator=generator), torch.rand(3, 4, 5, generator=generator)
    target[2] = 0
    target[:2] /= target[:2].mean((1, 2), keepdim=True)
    expected = kl_div(maps.flatten(1).log_softmax(1), target.flatten(1) / 20, reduction="none").sum(1)
    torch.testing.assert_close(kl(maps, target), expected)
    assert kl(maps, target)[2] == 0
    torch.testing.assert_close(mse(maps, target)[0], mse_loss(maps[0], target[0]))


def test_many_maps_an_image_are_many_losses() -> None:
    generator = torch.Generator().manual_seed(1)
    maps, target = torch.randn(3, 2, 4, 5, generator=generator), torch.rand(3, 4, 5, generator=generator)
    for loss in (mse, kl, nll, sigmoid_mse):
        each = torch.stack([loss(maps[:, i], target) for i in range(2)], dim=1)
        torch.testing.assert_close(loss(maps, target[:, None]), each)


def test_likelihood_and_divergence_differ_by_the_entropy_of_the_fixations() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(3, 4, 5, generator=generator)
    counts = torch.randint(0, 4, (3, 4, 5), generator=generator).float()
    counts[2] = 0
    target = counts / counts.mean((1, 2), keepdim=True).clamp(min=1e-9)
    share = target.flatten(1) / 20
    entropy = -torch.special.xlogy(share, share).sum(1)
    torch.testing.assert_close(nll(logits, target), kl(logits, target) + entropy)
    assert nll(logits, target)[2] == 0


def test_the_sigmoid_is_compared_with_the_density_over_its_maximum() -> None:
    generator = torch.Generator().manual_seed(3)
    logits, target = torch.randn(2, 4, 5, generator=generator), torch.rand(2, 4, 5, generator=generator)
    target[1] = 0
    found = sigmoid_mse(logits, target)
    torch.testing.assert_close(found[0], mse_loss(logits[0].sigmoid(), target[0] / target[0].max()))
    torch.testing.assert_close(found[1], logits[1].sigmoid().square().mean())
