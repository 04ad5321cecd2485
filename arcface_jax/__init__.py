"""ArcFace: Additive Angular Margin Loss for Deep Face Recognition (arXiv 1801.07698), in the paper's order.

`README.md` beside this file says which function holds which section, equation and table.

Not here: data, configs and the verification protocol (`faces`); the commands that train (`experiments`).
"""
