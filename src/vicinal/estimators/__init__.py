"""Estimators with scikit-learn's habits, beside `vicinal.representations.spectral`'s."""
