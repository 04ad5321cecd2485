"""Formats on disk in, arrays out: readers, the prepared dataset, generated faces, augmentation and the loader."""
