"""The MLflow experiment that all runs stand in, with a description that tells how to read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.tracking.layer_curves import PREFIX
from harness.tracking.record import ALPHA_PATH, TRAINING
from harness.tracking.store import artifact_location

if TYPE_CHECKING:
    from mlflow import MlflowClient

OPENING = "Linear readouts of human salience from frozen networks"
DESCRIPTION = f"""{OPENING}; a run is one cell of a matrix.
`salprobe ui` prints a link for every matrix: its runs, sorted, with charts.

**Tags.** `matrix` (one recipe on one dataset; all of a cell's are in `matrices`), `recipe`, `dataset`, `backbone`,
`weights`, `layers`, `probe`, `kind` (`cell` or `layer-curve`), `cell_key` (a hash of all that can change its
numbers), `compare` (the metric that ranks; `better`: higher or lower), `synthetic`, `status`, `git_commit`;
`warnings` in words, and to search by `flag.edge` (a parameter at the edge of its grid), `flag.unconverged`,
`flag.unscored` (images without a score), each `true`, and `overlap` (held-out images that are training images, too).

**Metrics.** Means over the held-out images (`cc`, `auc`, `nss`, `ig`, `sim`, `kld`, ...) with the 95 % bootstrap
interval in `..._ci_low` and `..._ci_high`; `share_...`: share of the range from the centre bias to other observers;
`depth` of the layer; `time/<phase>_s` (phases shared by the cells of a network are counted in each).

**Steps.** `{PREFIX}<metric>`, in the runs named `... · layers · ...`: the depth of the layer.
`{TRAINING["step_loss"]}`: optimiser steps; `{TRAINING["epoch_loss"]}`: epochs.
`{ALPHA_PATH}`: 10 log10(alpha), so -30 is alpha 0.001, 0 is 1, 30 is 1000.

**Files.** `per_image.parquet` (and `.json`, which this page can show), `contact_sheet.jpg` (the same images in every
run; compare them in the charts' image grid), `best_and_worst.jpg`, `recipe.yaml`, `cell.json`, `environment.json`; the
readout is the run's logged model: images (b, h, w, 3) in bytes in, maps (b, h, w) out.
"""
NOTE = "mlflow.note.content"
KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Makes the UI open on the table of runs, not on traces."""


def open_experiment(client: MlflowClient, name: str, uri: str) -> str:
    """The id of the experiment of that name, made or taken out of the bin if need be; what people wrote there stays."""
    found = client.get_experiment_by_name(name)
    if found is None:
        tags = {**KIND, NOTE: DESCRIPTION}
        return str(client.create_experiment(name, artifact_location=artifact_location(uri), tags=tags))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    written = found.tags.get(NOTE, OPENING)
    if written.startswith(OPENING) and written != DESCRIPTION:
        client.set_experiment_tag(found.experiment_id, NOTE, DESCRIPTION)
    return str(found.experiment_id)
