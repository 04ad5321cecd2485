"""The networks of FaceNet (arXiv 1503.03832, Sec. 3.3) and of its open relatives, as two pure functions each.

A network is a Flax module only in here. Everything else sees a `faces.backbone.Backbone`. To add a network, add a row
to `NETWORKS`. Embeddings are of length 1.

Not here: class centres and losses; the network ends at the normalised embedding.
"""

from functools import partial

import jax.numpy as jnp
from jax.typing import DTypeLike

from facenet_jax.models import openface
from facenet_jax.models.inception import NN2_ROWS, NN4_ROWS, WITHOUT_5X5_ROWS, InceptionNet
from facenet_jax.models.inception_resnet_v1 import InceptionResNetV1
from facenet_jax.models.mini_inception import NNS1_ROWS, NNS1_STEM, NNS2_ROWS, NNS2_STEM, NNS_FC1
from facenet_jax.models.mobilenet_v1 import MobileNetV1
from facenet_jax.models.nn1 import NN1
from facenet_jax.models.small import SMALL_STAGES, TINY_STAGES, SmallNet
from faces import backbone
from faces.backbone import Backbone, Network

NETWORKS: dict[str, Network] = {
    "nn1": Network(NN1, (220, 220)),
    "nn2": Network(partial(InceptionNet, rows=NN2_ROWS), (224, 224)),
    "nn3": Network(partial(InceptionNet, rows=NN2_ROWS), (160, 160)),
    "nn4": Network(partial(InceptionNet, rows=NN4_ROWS), (96, 96)),
    "nn4_without_5x5": Network(partial(InceptionNet, rows=WITHOUT_5X5_ROWS), (96, 96)),
    "nns1": Network(partial(InceptionNet, rows=NNS1_ROWS, stem=NNS1_STEM, fc1=NNS_FC1), (165, 165)),
    # CHOICE: rows x columns, as the tables write sizes; a face is taller than wide.
    "nns2": Network(partial(InceptionNet, rows=NNS2_ROWS, stem=NNS2_STEM, fc1=NNS_FC1), (140, 116)),
    "openface_nn4": Network(partial(openface.OpenFaceNet, rows=openface.NN4_ROWS), (96, 96)),
    "openface_nn4_small2": Network(partial(openface.OpenFaceNet, rows=openface.NN4_SMALL2_ROWS), (96, 96)),
    "inception_resnet_v1": Network(InceptionResNetV1, (160, 160)),
    "mobilenet_v1": Network(MobileNetV1, (160, 160)),
    "small": Network(partial(SmallNet, stages=SMALL_STAGES, stem=32), (64, 64)),
    "tiny": Network(partial(SmallNet, stages=TINY_STAGES, stem=24), (48, 48)),
}


def make_backbone(
    name: str,
    embedding_dim: int,
    dtype: DTypeLike = jnp.float32,
    input_size: tuple[int, int] | None = None,
    dropout: float | None = None,
) -> Backbone:
    """The network `name` of `NETWORKS`.

    Args:
        name: key of `NETWORKS`.
        embedding_dim: d, the length of the embedding.
        dtype: of the arithmetic, float32 or bfloat16. Parameters, batch statistics and the final L2 normalisation are
            float32 in either.
        input_size: rows and columns of the images; None for the published size. NN1, NNS1 and NNS2 have as many
            parameters as their size asks for, the others the same at every size.

        dropout: rate before the last matrix of Inception-ResNet-v1 and MobileNetV1; None for the published 0.2 and 0.5.

    Raises:
        ConfigError: for an unknown name, and for dropout where the network has none. `apply` raises it for images of
            another size.
    """
    return backbone.make_backbone(NETWORKS, name, embedding_dim, dtype, input_size, dropout)
