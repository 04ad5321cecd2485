"""Losses that FaceNet's triplets (arXiv 1503.03832, Sec. 3.1) answered, and those that answered them, one paper a file.

`contrastive.py` and `deepid2.py` came before: losses of pairs. `triplet_variant.py`, `batch_hard.py` and `batch_all.py`
change the triplet's formula or choose other triplets; `coupled_clusters.py` gives it another anchor;
`lifted_structure.py` and `n_pair.py` let a pair meet more than one negative; `margin_loss.py` goes back to pairs, with
chosen negatives; `circle.py` weighs each similarity by how far it is from where it should be.

Losses take the distances or similarities of a batch and which entries are of one identity (`pairs.py`); they return
one value for each example, in float32, and `objective.py` makes a number of them for the training step.

Not here: FaceNet's own loss and triplets (`facenet_jax.losses`, `facenet_jax.mining`); losses that classify, which are
ArcFace's relatives.
"""
