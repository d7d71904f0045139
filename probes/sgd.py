"""The same linear readout as ridge, trained by mini-batch gradient descent: squared error, or KL to the density."""

from __future__ import annotations

from harness import Context, Probe, Trainer, probe
from harness.heads import LinearHead
from harness.readout import LinearReadout
from probes._gradient import GradientSettings, link, raw_units, shared_bank, training_info


@probe("sgd")
class SGD(GradientSettings, Probe):
    """A linear readout per position, trained by mini-batches; all heads of a backbone share one stream."""

    @property
    def label(self) -> str:
        """Names the loss."""
        return f"sgd-{self.loss}"

    def passes(self) -> int:
        """One to measure the scale, then the epochs."""
        return 1 + self.epochs

    def trainer(self, context: Context) -> Trainer:
        """A head in the backbone's bank."""
        return SGDTrainer(self, context)


class SGDTrainer(Trainer):
    """Adds its head at the start and reads it off at the end; the bank does the steps."""

    def __init__(self, settings: SGD, context: Context) -> None:
        self.settings = settings
        self.bank = shared_bank(context)
        self.run = self.bank.add_linear(LinearHead(context.layers), settings.training())

    def readout(self) -> LinearReadout:
        """The head in the features' own units; maps of a softmax loss are exponentiated, as it did."""
        weights, bias = raw_units(self.bank, self.run)
        return LinearReadout(weights, bias.item(), link=link(self.settings), info=training_info(self.run))
