"""Cloud masks of whole products by a trained row."""
