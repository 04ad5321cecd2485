"""How good an embedding is: verification by pairs, its metrics, baselines on the same crops, tables and figures."""
