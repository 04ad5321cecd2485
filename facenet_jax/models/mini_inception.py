"""NNS1 and NNS2, the mini and the tiny Inception (arXiv 1503.03832, Sec. 3.3 and Table 3).

The paper gives their input sizes, parameters and multiply-adds (26M and 220M; 4.3M and 20M) and not one layer. Both
figures together still say much: NN2 does 214 multiply-adds per parameter and these do 8 and 5, so most parameters
must be used once per image, in a fully connected layer, and not at every place of a map, in a convolution.

CHOICE: every number below is ours. Laid out as Table 2, thinner and with fewer modules; the average pooling gives way
to a hidden fully connected layer over the whole last map, NN1's kind of head. NNS1 comes to 26.0M parameters and
218M multiply-adds, NNS2 to 4.30M and 20.1M.

Not here: what the layers mean (`inception.py`).
"""

from collections.abc import Mapping

from facenet_jax.models.inception import Row, Stem

NNS1_STEM = Stem(kernel=7, conv1=24, reduction=32, three=64)
NNS1_ROWS: Mapping[str, Row] = {
    "3a": Row(32, (32, 64), (8, 16), "max", 16),
    "3b": Row(32, (32, 64), (16, 32), "l2", 32),
    "3c": Row(0, (64, 128), (16, 32), "max", 0, stride=2),
    "4a": Row(128, (64, 128), (16, 32), "l2", 64),
    "4b": Row(96, (64, 128), (16, 32), "l2", 64),
    "4e": Row(0, (96, 160), (32, 64), "max", 0, stride=2),
    "5a": Row(192, (96, 192), (32, 64), "l2", 64),
    "5b": Row(256, (96, 272), (32, 64), "max", 64),
}

# No 5x5 convolutions: the paper finds that they can be left out everywhere at a small loss of accuracy.
NNS2_STEM = Stem(kernel=5, conv1=16, reduction=16, three=32)
NNS2_ROWS: Mapping[str, Row] = {
    "3a": Row(16, (16, 24), None, "max", 16),
    "3c": Row(0, (20, 48), None, "max", 0, stride=2),
    "4a": Row(32, (24, 48), None, "l2", 24),
    "4e": Row(0, (48, 88), None, "max", 0, stride=2),
    "5a": Row(64, (48, 96), None, "max", 36),
}

NNS_FC1 = 1024
"""Width of the hidden fully connected layer of both."""
