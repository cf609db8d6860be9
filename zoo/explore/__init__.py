"""The exploration of datasets: findings, patients, pixels, and how they are related."""
