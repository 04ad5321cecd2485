"""Faces in photographs: where they are, and where their eyes, nose and mouths are.

A detector is made once, by `make_detector` of `retinaface_jax`, `mtcnn_jax` or `scrfd_jax`, and then called with any
number of images of any size. `detections.py` is what it gives, `boxes.py` and `buckets.py` are what detectors share.
"""
