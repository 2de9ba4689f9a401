"""The benchmark: every figure beside the limit or the rival measured in the same minutes."""
