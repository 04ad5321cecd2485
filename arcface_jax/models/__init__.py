"""The networks of ArcFace (arXiv 1801.07698, Sec. 3.1) and of the rows its tables quote, as two pure functions each.

A network is a Flax module only in here. Everything else sees a `faces.backbone.Backbone`. To add a network, add a row
to `NETWORKS` and call its last matrix `LAST_LAYER`. Embeddings are not normalised: plain softmax, Eq. (1), needs their
length.

Not here: class centres and losses; the network ends at the embedding.
"""

from functools import partial

import jax.numpy as jnp
from jax.typing import DTypeLike

from arcface_jax.models import iresnet
from arcface_jax.models.deepface import DeepFace
from arcface_jax.models.deepid2 import DeepID2
from arcface_jax.models.iresnet import IResNet
from arcface_jax.models.layers import LAST_LAYER as LAST_LAYER
from arcface_jax.models.mobilefacenet import MBF_LARGE_ROWS, MBF_ROWS, MobileFaceNet
from arcface_jax.models.sphereface import SPHEREFACE_20, SPHEREFACE_64, SphereFaceNet
from arcface_jax.models.vgg_face import VGGFace
from arcface_jax.models.vit import VisionTransformer
from faces import backbone
from faces.backbone import Backbone, Network

# Ours, for a CPU: three narrow stages, the first on a sixteenth of the pixels.
TINY = partial(IResNet, units=(1, 1, 1), widths=(24, 48, 96), strides=(1, 2, 2), patch=2, stem_stride=2)
SMALL = partial(IResNet, units=(1, 2, 2), widths=(48, 96, 192), strides=(1, 2, 2), patch=2, stem_stride=2)
IR = partial(IResNet, subsampled=True)
MBF = partial(MobileFaceNet, rows=MBF_ROWS, stem=128, group=2, epsilon=1e-5)

NETWORKS: dict[str, Network] = {
    "iresnet18": Network(partial(IResNet, units=iresnet.IRESNET_18), (112, 112)),
    "iresnet34": Network(partial(IResNet, units=iresnet.IRESNET_34), (112, 112)),
    "iresnet50": Network(partial(IResNet, units=iresnet.IRESNET_50), (112, 112)),
    "iresnet100": Network(partial(IResNet, units=iresnet.IRESNET_100), (112, 112)),
    "iresnet200": Network(partial(IResNet, units=iresnet.IRESNET_200), (112, 112)),
    # As AdaFace, InsightFace_Pytorch and others build them; with "se" after squeeze-and-excitation.
    "ir_18": Network(partial(IR, units=iresnet.IRESNET_18), (112, 112)),
    "ir_34": Network(partial(IR, units=iresnet.IRESNET_34), (112, 112)),
    "ir_50": Network(partial(IR, units=iresnet.IRESNET_50), (112, 112)),
    "ir_101": Network(partial(IR, units=iresnet.IRESNET_100), (112, 112)),
    "ir_se_50": Network(partial(IR, units=iresnet.IRESNET_50, reduction=16), (112, 112)),
    "ir_se_101": Network(partial(IR, units=iresnet.IRESNET_100, reduction=16), (112, 112)),
    "iresnet_small": Network(SMALL, (64, 64)),
    "iresnet_tiny": Network(TINY, (48, 48)),
    "mobilefacenet": Network(MobileFaceNet, (112, 112)),
    # The two that ArcFace's authors published: in MXNet with 128 dimensions, in PyTorch with 512.
    "mobilefacenet_y1": Network(partial(MobileFaceNet, fixed_scale=True), (112, 112)),
    "mobilefacenet_mbf": Network(MBF, (112, 112)),
    "mobilefacenet_mbf_large": Network(
        partial(MobileFaceNet, rows=MBF_LARGE_ROWS, stem=256, group=0, epsilon=1e-5), (112, 112)
    ),
    # Of insightface's w600k_mbf.onnx.
    "mobilefacenet_mbf_flat": Network(partial(MBF, flat=64), (112, 112)),
    # Rows x columns, as SphereFace writes it.
    "sphereface20": Network(partial(SphereFaceNet, units=SPHEREFACE_20), (112, 96)),
    "sphereface64": Network(partial(SphereFaceNet, units=SPHEREFACE_64), (112, 96)),
    "deepface": Network(DeepFace, (152, 152)),
    "deepid2": Network(DeepID2, (55, 47)),
    "vgg_face": Network(VGGFace, (224, 224)),
    "vit_tiny": Network(partial(VisionTransformer, width=256), (112, 112)),
    "vit_small": Network(partial(VisionTransformer, width=512), (112, 112)),
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
        dtype: of the arithmetic, float32 or bfloat16. Parameters, batch statistics and embeddings are float32 in
            either.
        input_size: rows and columns of the images; None for the published size. The last matrix, in MobileFaceNet the
            last depthwise kernel, in VGG-Face the first matrix, in vision transformers the places and the matrix over
            them, has as many parameters as the size asks for, as have locally connected layers.
        dropout: rate of a network that has dropout, before or behind its last matrices; None for its published one. In
            a vision transformer it is the rate of stochastic depth.

    Raises:
        ConfigError: for an unknown name, and for dropout where the network has none. `apply` raises it for images of
            another size.
    """
    return backbone.make_backbone(NETWORKS, name, embedding_dim, dtype, input_size, dropout)
