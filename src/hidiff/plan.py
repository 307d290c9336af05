"""A data folder's fingerprint (sizes, spacings, labels) to a proposed recipe."""
