"""Sets of aligned faces made of photographs: what was found in each, which face is meant, and what is left out."""
