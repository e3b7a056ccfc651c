"""Run folders: what a run leaves there, how it goes on, the pictures kept with it."""
