"""Training and export: the only room that imports torch (install the `training` extra)."""
