"""Faces that nobody owns: generated people and pictures of them, and scenes that are composed of faces."""
