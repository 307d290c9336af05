"""The data sets that need code of their own: readers of their layouts, and drawn ones."""
