"""FaceNet: A Unified Embedding for Face Recognition and Clustering (arXiv 1503.03832), in the paper's order."""
