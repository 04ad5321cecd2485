"""ArcFace (arXiv 1801.07698), in the paper's order: Sec. 2 the losses, Sec. 3 networks and training.

`README.md` beside this file says which function holds which section, equation and table.

Not here: data, configs and the verification protocol (`faces`); the commands that train (`experiments`).
"""
