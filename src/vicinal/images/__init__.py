"""Images: where they live, and how they become an ImageSet."""
