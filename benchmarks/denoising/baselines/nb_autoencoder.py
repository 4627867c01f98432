"""Baseline: a negative-binomial autoencoder after DCA (Eraslan et al. 2019, doi:10.1038/s41467-018-07931-2).

Built from scvi-tools: hidden layers of 64, a latent space of 32, a negative binomial with one dispersion per gene, and no
prior on the latent space (weight 0), so that an autoencoder remains. Trained like `scvi.py`, as long as there.
"""

import os

import numpy as np

IMAGE = "scvi"
STEPS, EPOCHS, CELLS = 1500, 400, 128
"""Updates on a CPU (on a GPU always all epochs), the most epochs, and cells in an update."""
WORK = 6_000_000
"""Genes times updates on a CPU: 1,500 updates with 16,791 genes were not done after 600 s (two threads, busy cores)."""
MODEL = {"n_hidden": 64, "n_latent": 32, "n_layers": 1, "gene_likelihood": "nb"}
PLAN = {"max_kl_weight": 0.0, "min_kl_weight": 0.0}


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
