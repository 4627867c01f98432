"""Baseline: scVI (Lopez et al. 2018, doi:10.1038/s41592-018-0229-2) through scvi-tools, with its default architecture.

Trained on the training counts of the thinning, on a GPU where there is one. With many cells a CPU makes far fewer than the
400 epochs that scvi-tools would take by itself: STEPS is what fits into the task's time.
"""

import os

import numpy as np

IMAGE = "scvi"
STEPS, EPOCHS, CELLS = 1500, 400, 128
"""Updates on a CPU (on a GPU always all epochs), the most epochs, and cells in an update."""
WORK = 6_000_000
"""Genes times updates on a CPU: 1,500 updates with 16,791 genes were not done after 600 s (two threads, busy cores)."""
MODEL = {"n_hidden": 128, "n_latent": 10, "n_layers": 1, "gene_likelihood": "zinb"}
PLAN = {}


def denoise(counts):
    """Posterior mean shares times each cell's library, float32 [cells, genes]."""
    os.environ |= {"MPLCONFIGDIR": "/tmp", "NUMBA_CACHE_DIR": "/tmp", "XDG_CACHE_HOME": "/tmp", "HOME": "/tmp"}
    import anndata
    import scvi
    import torch

    scvi.settings.seed = 0
    torch.set_num_threads(1)  # More threads than cores that a sandbox may use wait for each other most of the time.
    cells = anndata.AnnData(counts.copy())
    scvi.model.SCVI.setup_anndata(cells)
    model = scvi.model.SCVI(cells, **MODEL)
    gpu = torch.cuda.is_available()
    epochs = EPOCHS if gpu else max(1, min(EPOCHS, min(STEPS, WORK // counts.shape[1]) * CELLS // counts.shape[0]))
    model.train(
        max_epochs=epochs, accelerator="gpu" if gpu else "cpu", devices=1, batch_size=CELLS,
        train_size=1.0, plan_kwargs=PLAN, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        default_root_dir="/tmp",
    )  # fmt: skip
    # An error in a training step has been swallowed on the way here before, and the model scored untrained.
    if model.trainer.interrupted or model.trainer.global_step == 0:
        raise RuntimeError(f"training was interrupted after {model.trainer.global_step} updates")
    shares = model.get_normalized_expression(library_size=1, return_numpy=True)
    return np.asarray(shares, dtype=np.float32) * np.asarray(counts.sum(axis=1), dtype=np.float32)
