"""Records: the values that Redis holds, as the readers of each see them. Pure."""
