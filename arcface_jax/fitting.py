"""ArcFace's training (arXiv 1801.07698, Sec. 3.1) in one call of a program: `from arcface_jax import fit`.

Not here: the step (`train_step.py`), the loop (`faces.train_loop`), the protocol (`faces.evaluate`).
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jax.sharding import Mesh

from arcface_jax.config import Config
from arcface_jax.models import NETWORKS
from arcface_jax.sampling import epoch_order
from arcface_jax.train_step import init_state, make_train_step, own_backbone
from faces.backbone import Backbone
from faces.mesh import check_division

if TYPE_CHECKING:
    from faces.fitting import Fitted, Source


def fit(
    source: "Source",
    config: Config | Path | str = "arcface/tiny",
    mesh: Mesh | None = None,
    *,
    backbone: Backbone | None = None,
    folder: Path | str | None = None,
    quiet: bool = False,
) -> "Fitted":
    """Train ArcFace on faces, as `python -m experiments.arcface` does, without a test.

        trained = fit((images, labels), Config.load("arcface/small").with_(train__steps=2000))
        trained.embed(others)  # (n, d), float32, of length 1

    Args:
        source: a path (PERSON/IMAGE, a prepared dataset, LFW, a .rec); images uint8 (n, rows, columns, 3), RGB, and
            labels (n,), any whole numbers; or a `faces.data.source.FaceSource`. Images of another size are stretched to
            the network's.
        config: of the run, or the name of one in `paper_configs/`, or a TOML file. Evaluations on the way are left out.
        mesh: the devices, of `faces.mesh.make_mesh`; None for all.
        backbone: another network than the one that the config names.
        folder: where to write a run's folder at the end, which `experiments.evaluate` and `recognizer` open; None:
            nothing is written.
        quiet: show no progress.
    Raises:
        ConfigError: the config makes no sense, or names no network of this paper, or one whose layers cannot divide its
            images, or statistics of batch norm that stay as they came, where none came; its batch cannot be divided
            among the devices; or a folder is asked for together with a backbone of your own, which its config would
            not name.
        DataError: no faces, arrays that do not fit, or too few for one batch.
        TrainingStopped: too many steps in a row were not finite; what was trained is lost.
        OutputError: the folder is not empty, or cannot be written.
    """
    # Imported here, so that `import arcface_jax` does not load the readers of files and images.
    from arcface_jax.monitor import AngleMonitor
    from faces import fitting

    fitting.check_folder(folder, backbone)
    config, mesh = fitting.config_of(config, Config), fitting.mesh_of(mesh)
    backbone = fitting.network_of(backbone, partial(own_backbone, config), config.model, NETWORKS)
    batch, data, seed = config.batch, config.data, config.train.seed
    check_division(mesh, {"batch.images": batch.images})
    faces = fitting.faces_of(source, data.images, data.min_images, data.wrong_labels, seed, quiet)
    classes = len(faces.identity_names)
    order = partial(epoch_order, faces.identities, batch.images, batch.images_per_identity, seed)
    state = init_state(config, mesh, backbone, classes)
    step = make_train_step(config, mesh, backbone, classes)
    by_layer, monitor = partial(make_train_step, config, mesh, backbone, classes, by_layer=True), AngleMonitor(config)
    return fitting.run(config, mesh, faces, order, backbone, state, step, by_layer, monitor, folder, quiet)
