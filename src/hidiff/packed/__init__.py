"""The refiner on packed bits: layout, a slow reference, compiled kernels, modules."""
