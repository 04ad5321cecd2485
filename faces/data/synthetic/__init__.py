"""Faces that nobody owns: generated people and images of them, and scenes that are composed of faces."""
