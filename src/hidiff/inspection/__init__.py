"""A data folder looked through: what it holds, what is wrong with it, what it is like."""
