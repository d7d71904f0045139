"""Stimuli and gaze: the readers, and the one columnar form that they fill.

Nothing is imported here: processes that only read .mat files do without torch.
"""
