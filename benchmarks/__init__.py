"""How fast the engines are, as ratios in one run: against each other, and against how the published script works.

Nothing in here is part of the product: the product never imports it, and it uses nothing but the product's own loop.
"""
