"""Views: augmented copies of images, and where positive pairs come from."""
