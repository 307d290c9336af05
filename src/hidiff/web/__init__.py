"""A page in the browser: open an image, refine its mask, see the doubt."""
