"""From published files to batches: records → audit → split → store → batches."""
