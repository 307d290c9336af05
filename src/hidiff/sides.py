"""The sides of the patches and windows that the networks see."""


def check_sides(name: str, size: tuple[int, int]) -> tuple[int, int]:
    """Return the size (height, width) unless the networks cannot take it.

    Both sides must be multiples of 32, the refiner's largest stride, and 64 or more. Raises
    ValueError, naming the setting.
    """
    if any(side % 32 or side < 64 for side in size):
        raise ValueError(f"{name} is {size}, but each side must be a multiple of 32, from 64 up")
    return size
