"""The last picture of a view for notebooks that are closed, exported or shown as text. Pure, without scripts."""
