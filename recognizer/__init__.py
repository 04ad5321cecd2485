"""From photographs to embeddings: models and detectors by path, what they were trained as, and their cache.

Networks of one paper under the loss of another meet here, as the papers' packages do not know each other.
"""
