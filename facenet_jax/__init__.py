"""FaceNet: A Unified Embedding for Face Recognition and Clustering (arXiv 1503.03832), Sec. 3, in the paper's order.

`README.md` beside this file says which function holds which section, equation and table.

Not here: data, configs and the evaluation of Sec. 4 (`faces`); the commands that train (`experiments`).
"""
