"""A plugin file as anybody might write one: ten layers of a few random filters, for large but cheap matrices."""

from torch import nn

from harness import backbone

LAYERS = 10


@backbone("small", layers={f"layer{i}": (6, 8) for i in range(LAYERS)})
def small(*, seed: int = 0):
    """Ten random convolutions of six channels at an eighth of the image's size; `seed` draws them."""
    first = ("layer0", nn.Conv2d(3, 6, 8, stride=8))
    others = [(f"layer{i}", nn.Sequential(nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1))) for i in range(1, LAYERS)]
    network = nn.Sequential()
    for name, module in (first, *others):
        network.add_module(name, module)
    return network
