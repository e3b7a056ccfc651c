"""The study: what is compared, what is claimed, and the run of it all."""
