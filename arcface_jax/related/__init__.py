"""Losses that ArcFace is compared with (Table 2) where they are more than a setting of Eq. (4), one paper a file.

Not here: the losses that are settings of Eq. (4) (`arcface_jax.margins`).
"""
