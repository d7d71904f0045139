"""Packaged recipes: every .yaml file beside this one can be run by its name."""
